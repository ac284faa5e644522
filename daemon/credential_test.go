package daemon_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

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

// TestRefusedCredentialIsRefreshedAndReplayed rotates the token: the client
// sees no 401.
func TestRefusedCredentialIsRefreshedAndReplayed(t *testing.T) {
	all := servers(t, 2)
	token := newRotatingToken(t, "first")
	r := start(t, all, token.use)
	r.all("POST /api/v1/pods", fakeapi.Text(201, "made"))
	for _, s := range all {
		s.RequireToken("first")
	}
	if got := r.do("POST", "/api/v1/pods", "{}"); got.Code != 201 {
		t.Fatalf("with the first token: %+v", got)
	}
	token.set("second")
	for _, s := range all {
		s.RequireToken("second")
	}
	for range 5 {
		if got := r.do("POST", "/api/v1/pods", "{}"); got.Code != 201 {
			t.Errorf("with the second token: %+v", got)
		}
	}
	token.set("third") // of which the servers know nothing
	for _, s := range all {
		s.RequireToken("fourth")
	}
	if got := r.do("GET", "/api/v1/pods", ""); got.Code != http.StatusUnauthorized {
		t.Errorf("with a token that is refused: %+v, want the API server's 401", got)
	}
	if got := r.do("POST", "/api/v1/pods", "{}", "Authorization", "Bearer fourth"); got.Code != 201 {
		t.Errorf("with the client's own token: %+v, want it to win", got)
	}
}

// rotatingToken is a token file.
type rotatingToken struct {
	t    testing.TB
	path string
}

func newRotatingToken(t testing.TB, first string) *rotatingToken {
	r := &rotatingToken{t: t, path: filepath.Join(t.TempDir(), "token")}
	r.set(first)
	return r
}

func (r *rotatingToken) set(token string) {
	r.t.Helper()
	next := r.path + ".next"
	if err := os.WriteFile(next, []byte(token), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, r.path); err != nil {
		r.t.Fatal(err)
	}
}

// use makes a configuration present the file's token.
func (r *rotatingToken) use(cfg *config.Configuration) {
	connection := &cfg.Clusters[0].Connection
	load := connection.Load
	connection.Load = func() (*rest.Config, error) {
		c, err := load()
		if err == nil {
			c.BearerToken, c.BearerTokenFile = "", r.path
		}
		return c, err
	}
}
