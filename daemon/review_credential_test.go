package daemon_test

import (
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestNoCredentialToPlainHTTP names an http:// server beside the kubeconfig's:
// neither its probes nor its requests carry the token.
func TestNoCredentialToPlainHTTP(t *testing.T) {
	secure := fakeapi.New(t, fakeapi.Options{})
	plain := fakeapi.New(t, fakeapi.Options{Plain: true})
	r := start(t, []*fakeapi.Server{secure, plain})
	plain.AwaitDone("GET /readyz", 2)
	secure.Down()
	r.awaitState(0, "DOWN")
	r.all("GET /api/v1/pods", fakeapi.Text(200, "fine"))
	if got := r.do("GET", "/api/v1/pods", ""); got.Code != 200 {
		t.Errorf("answer %+v, want the http server's", got)
	}
	for _, q := range plain.Requests() {
		if q.Header.Get("Authorization") != "" {
			t.Errorf("%s %s carried the token in clear text", q.Method, q.Target)
		}
	}
}

// TestAKubeconfigThatCannotBeUsedChangesNothing switches to an egress proxy of
// a kind that there is not.
func TestAKubeconfigThatCannotBeUsedChangesNothing(t *testing.T) {
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

// TestNothingIsDiscoveredWithoutVerification has a kubeconfig that verifies no
// certificate: an address out of the cluster would get the token unproven.
func TestNothingIsDiscoveredWithoutVerification(t *testing.T) {
	named, other := fakeapi.New(t, fakeapi.Options{}), fakeapi.New(t, fakeapi.Options{})
	named.SetEndpoints(named.Addr, other.Addr)
	r := start(t, []*fakeapi.Server{named}, func(cfg *config.Configuration) {
		cfg.Clusters[0].Discovery = config.Discovery{Mode: config.DiscoverEndpoints, Interval: 50 * time.Millisecond}
		cfg.Clusters[0].Connection.Load = func() (*rest.Config, error) {
			return &rest.Config{Host: named.URL, BearerToken: testToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, nil
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.Logs.FilterMessage("API servers cannot be discovered").Len() == 0 && r.Logs.FilterMessage("API servers discovered").Len() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("discovery says nothing")
		}
		<-tick.C
	}
	r.do("GET", "/version", "")
	if n := len(other.Requests()); n != 0 || len(r.Daemon.Status().Clusters[0].Upstreams) != 1 {
		t.Errorf("%d requests reached the other address; upstreams %+v", n, r.Daemon.Status().Clusters[0].Upstreams)
	}
}
