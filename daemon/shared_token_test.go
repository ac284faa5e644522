package daemon_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// tokenRequest answers a service account's TokenRequest.
func tokenRequest(token string) http.Handler {
	return fakeapi.JSON(201, map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
		"status": map[string]any{"token": token, "expirationTimestamp": time.Now().Add(time.Hour)},
	})
}

// useServiceAccount has alice call the cluster other with a service account's
// token of that cluster.
func useServiceAccount(cfg *config.Configuration) {
	cfg.Credentials = append(cfg.Credentials, auth.CredentialConfig{Name: "sa", ServiceAccountToken: &auth.ServiceAccountToken{
		Credential: "other", Cluster: "other", Namespace: "n", ServiceAccount: "s",
	}})
	clientOf(cfg, "alice").Grants[1].Credential = "sa"
}

const serviceAccountToken = "/api/v1/namespaces/n/serviceaccounts/s/token"

// wantNoneOfTheFirst wants no request to have reached a server with the token of
// the first cluster's service account.
func wantNoneOfTheFirst(t *testing.T, s *fakeapi.Server) {
	t.Helper()
	for _, q := range s.Requests() {
		if q.Header.Get("Authorization") == "Bearer first-clusters-token" {
			t.Errorf("%s %s: the second cluster has received the first one's token", q.Method, q.Target)
		}
	}
}

// TestSharedServiceAccountTokenStaysInItsCluster gives a cluster another
// kubeconfig by a reload: the servers there get no token that the previous ones
// have issued.
func TestSharedServiceAccountTokenStaysInItsCluster(t *testing.T) {
	t.Parallel()
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	second.Handle("GET "+pods, fakeapi.Text(200, "fine"))
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) { useServiceAccount(cfg) })
	r.Other.RequireToken()
	r.Other.Handle("POST "+serviceAccountToken, tokenRequest("first-clusters-token"))
	if got := r.ask(t, "GET /clusters/other"+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 200 {
		t.Fatal(got.Code, got.Body)
	}
	r.reload(func(cfg *config.Configuration) { pointAt(&cfg.Clusters[1], second) })
	r.ask(t, "GET /clusters/other"+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken))
	wantNoneOfTheFirst(t, second)
}

// TestSharedServiceAccountTokenStaysWithItsKubeconfig rewrites the kubeconfig
// file to lead to another cluster, without a reload: its server gets no token
// that the previous one has issued.
func TestSharedServiceAccountTokenStaysWithItsKubeconfig(t *testing.T) {
	t.Parallel()
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	second.Handle("GET "+pods, fakeapi.Text(200, "fine"))
	second.Handle("POST "+serviceAccountToken, tokenRequest("second-clusters-token"))
	var path string
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		if path == "" {
			path = r.Other.Kubeconfig(testToken)
		}
		cfg.Clusters[1].Kubeconfig = auth.KubeconfigRef{Path: path}
		cfg.Clusters[1].Connection = config.KubeconfigConnection(cfg.Clusters[1].Kubeconfig)
		useServiceAccount(cfg)
	})
	r.Other.RequireToken()
	r.Other.Handle("POST "+serviceAccountToken, tokenRequest("first-clusters-token"))
	ask := func() { r.ask(t, "GET /clusters/other"+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)) }
	ask()
	raw, err := os.ReadFile(second.Kubeconfig(testToken))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	r.await("the second cluster is called", func() bool { ask(); return len(second.Requests("GET "+pods)) > 0 })
	wantNoneOfTheFirst(t, second)
}
