package daemon_test

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedCredentialThatAsksIsRefused: a plugin that does not say when its
// token ends is asked again when the token is refused, also where tokens of
// service accounts are all that it is used for, and where those ask for others.
func TestSharedCredentialThatAsksIsRefused(t *testing.T) {
	t.Parallel()
	var generation atomic.Int64
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		serviceAccount := func(name, asks string) auth.CredentialConfig {
			return auth.CredentialConfig{Name: name, ServiceAccountToken: &auth.ServiceAccountToken{
				Credential: asks, Cluster: "test", Namespace: "n", ServiceAccount: name}}
		}
		cfg.Credentials = append(cfg.Credentials, r.plugin("plugin", "cat "+r.path("printed"), 0))
		with(cfg, "carol", serviceAccount("first", "plugin"))
		with(cfg, "dave", serviceAccount("second", "first"))
	})
	for _, name := range []string{"first", "second"} {
		r.Servers[0].Handle("POST /api/v1/namespaces/n/serviceaccounts/"+name+"/token", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			fakeapi.JSON(201, map[string]any{
				"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
				"status": map[string]any{"token": fmt.Sprint(name, generation.Load()), "expirationTimestamp": time.Now().Add(time.Hour)},
			}).ServeHTTP(w, q)
		}))
	}
	// revoke makes the cluster accept nothing of before.
	revoke := func() {
		g := generation.Add(1)
		r.file("printed", fmt.Sprintf(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"plugin%d"}}`, g))
		r.Servers[0].RequireToken(testToken, fmt.Sprint("plugin", g), fmt.Sprint("first", g), fmt.Sprint("second", g))
	}
	ask := func(token string) int {
		t.Helper()
		return r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(token)).Code
	}
	revoke()
	for _, token := range []string{carolToken, daveToken} {
		if code := ask(token); code != 200 {
			t.Fatalf("with the first tokens: answer %d", code)
		}
	}
	revoke()
	for name, token := range map[string]string{"at the end of the chain": daveToken, "in its middle": carolToken} {
		if code := ask(token); code != 200 {
			t.Errorf("%s, after all tokens were revoked: answer %d", name, code)
		}
	}

	r.Servers[0].Handle("POST /api/v1/namespaces/n/serviceaccounts/first/token", fakeapi.Unauthorized())
	r.file("plugin.runs", "")
	before := len(r.Servers[0].Requests("POST /api/v1/namespaces/n/serviceaccounts/first/token"))
	revoke()
	for range 20 { // refused for ever: neither the plugin nor the cluster is asked for each
		if code := ask(carolToken); code == 200 || code == 401 {
			t.Fatalf("with a credential that is refused: answer %d", code)
		}
	}
	if runs, err := os.ReadFile(r.path("plugin.runs")); err != nil || len(runs) > 3 {
		t.Errorf("the plugin ran %d times (%v)", len(runs), err)
	}
	if asked := len(r.Servers[0].Requests("POST /api/v1/namespaces/n/serviceaccounts/first/token")) - before; asked > 8 {
		t.Errorf("a token was asked for %d times", asked)
	}
}
