package daemon_test

import (
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestKubeconfigIsReadAgain rewrites the kubeconfig under a running daemon: to
// another cluster with another CA and another user. No server ever sees the
// other one's token.
func TestKubeconfigIsReadAgain(t *testing.T) {
	first := fakeapi.New(t, fakeapi.Options{UID: "first"})
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	first.Handle("GET /api/v1/pods", fakeapi.Text(200, "of the first"))
	second.Handle("GET /api/v1/pods", fakeapi.Text(200, "of the second"))
	path := first.Kubeconfig("first-token")
	r := start(t, []*fakeapi.Server{first}, func(cfg *config.Configuration) {
		cfg.Clusters[0].Connection = config.Connection{
			Load:  func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", path) },
			Files: func() []string { return []string{path} },
		}
	})
	if got := r.do("GET", "/api/v1/pods", ""); got.Body != "of the first" {
		t.Fatalf("before: %+v", got)
	}
	next, err := os.ReadFile(second.Kubeconfig("second-token"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".next", next, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := r.do("GET", "/api/v1/pods", "")
		if got.Code != 200 {
			t.Fatalf("while the kubeconfig changes: %+v", got)
		}
		if got.Body == "of the second" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the second cluster is not asked")
		}
	}
	for server, token := range map[*fakeapi.Server]string{first: "Bearer first-token", second: "Bearer second-token"} {
		for _, req := range server.Requests() {
			if got := req.Header.Get("Authorization"); got != "" && got != token {
				t.Errorf("%s %s came with another cluster's token", req.Method, req.Target)
			}
		}
	}
}

// TestKubeconfigThatCannotBeUsedChangesNothing switches to an egress proxy of
// an unknown kind.
func TestKubeconfigThatCannotBeUsedChangesNothing(t *testing.T) {
	var broken atomic.Bool
	r := start(t, servers(t, 1), func(cfg *config.Configuration) {
		load := cfg.Clusters[0].Connection.Load
		cfg.Clusters[0].Connection.Load = func() (*rest.Config, error) {
			c, err := load()
			if err == nil && broken.Load() {
				c.Proxy = func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "gopher", Host: "proxy"}, nil }
			}
			return c, err
		}
	})
	before := r.state(0)
	broken.Store(true)
	r.all("GET /api/v1/pods", fakeapi.Unauthorized()) // has the kubeconfig read again
	r.do("GET", "/api/v1/pods", "")
	if n := r.Logs.FilterMessageSnippet("cannot be used").Len(); n != 1 {
		t.Fatalf("%d lines about it, want 1", n)
	}
	if after := r.state(0); after.Source != before.Source || after.State != before.State {
		t.Errorf("the server was %+v and is %+v", before, after)
	}
}
