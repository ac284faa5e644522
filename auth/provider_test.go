package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// issuer is an OpenID Connect provider that refreshes ID tokens.
func issuer(t *testing.T, ca *authority, refresh func() (idToken string, code int)) string {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewUnstartedServer(mux)
	server.TLS = ca.server(t)
	server.StartTLS()
	t.Cleanup(server.Close)
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"token_endpoint":%q}`, server.URL+"/token")
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		token, code := refresh()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]string{"access_token": "a", "token_type": "bearer", "id_token": token, "error_description": token})
	})
	return server.URL
}

func oidcUser(issuerURL, clientID, idToken, refreshToken string) clientcmdapi.AuthInfo {
	return clientcmdapi.AuthInfo{AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: map[string]string{
		"idp-issuer-url": issuerURL, "client-id": clientID, "id-token": idToken, "refresh-token": refreshToken,
	}}}
}

func TestOIDCProviderRefreshesAndPersists(t *testing.T) {
	ca := newAuthority(t)
	fresh := jwt(time.Now().Add(time.Hour))
	var asked atomic.Int32
	url := issuer(t, ca, func() (string, int) { asked.Add(1); return fresh, http.StatusOK })
	user := oidcUser(url, "kube", jwt(time.Now().Add(-time.Hour)), "refresh-me")
	f := newFixture(t, clientcmdapi.NewConfig())
	user.AuthProvider.Config["idp-certificate-authority"] = f.put("ca", string(ca.pem))
	f.write(kubeconfig("https://127.0.0.1", user))
	k, err := OpenKubeconfig(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f.Kubeconfig = k
	if asked.Load() != 0 {
		t.Error("the issuer was asked when the kubeconfig was opened")
	}
	if got := f.token(); got != "Bearer "+fresh || asked.Load() != 1 {
		t.Errorf("token %q after %d refreshes", got, asked.Load())
	}
	l, err := f.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(l.validity.until); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the lease can be used for %s", left)
	}
	// client-go wrote the new token into the kubeconfig, which is not a new user.
	f.reloadNow()
	if got := f.token(); got != "Bearer "+fresh || asked.Load() != 1 {
		t.Errorf("after the persisted kubeconfig was read: token %q, %d refreshes", got, asked.Load())
	}
	if _, err := f.Refused(t.Context(), l); !errors.Is(err, ErrNoNewerCredential) {
		t.Errorf("Refused = %v", err)
	}
}

func TestTwoOIDCUsersOfOneIssuerGetTheirOwnTokens(t *testing.T) {
	alice, bob := jwt(time.Now().Add(time.Hour)), jwt(time.Now().Add(2*time.Hour))
	f := openFixture(t, kubeconfig("https://127.0.0.1", oidcUser("https://issuer.invalid", "kube", alice, "a")))
	g := openFixture(t, kubeconfig("https://127.0.0.1", oidcUser("https://issuer.invalid", "kube", bob, "b")))
	if f.token() != "Bearer "+alice || g.token() != "Bearer "+bob {
		t.Error("one user was given the other's token (kubernetes/kubernetes#78509)")
	}
	f.write(kubeconfig("https://127.0.0.1", oidcUser("https://issuer.invalid", "kube", bob, "b")))
	f.reloadNow()
	if f.token() != "Bearer "+bob {
		t.Error("the kubeconfig's new user was given the old one's token")
	}
}

func TestOIDCErrorQuotesNothingOfTheIssuer(t *testing.T) {
	ca := newAuthority(t)
	url := issuer(t, ca, func() (string, int) { return canary, http.StatusBadRequest })
	f := newFixture(t, clientcmdapi.NewConfig())
	user := oidcUser(url, "kube", jwt(time.Now().Add(-time.Hour)), canary)
	user.AuthProvider.Config["idp-certificate-authority"] = f.put("ca", string(ca.pem))
	f.write(kubeconfig("https://127.0.0.1", user))
	k, err := OpenKubeconfig(f.options())
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	_, err = k.Lease(t.Context())
	if err == nil || !strings.Contains(err.Error(), "auth-provider oidc: it could not get a token") || strings.Contains(err.Error(), canary) {
		t.Errorf("error = %v", err)
	}
}

// stuck is a provider that answers when it is let go.
type stuck struct {
	calls atomic.Int32
	let   chan struct{}
}

func (s *stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	s.calls.Add(1)
	<-s.let
	r.Header.Set("Authorization", "Bearer late")
	return nowhere{}.RoundTrip(r)
}

func TestProviderThatHangsIsAskedOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{let: make(chan struct{})}
		p := &provider{name: "stuck", wrapped: s, busy: make(chan struct{}, 1)}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := p.fetch(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("fetch = %v", err)
			}
			cancel()
		}
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%d calls at once, want 1", n)
		}
		close(s.let)
		synctest.Wait()
		c, err := p.fetch(t.Context())
		if err != nil || c.authorization.Reveal() != "Bearer late" {
			t.Errorf("fetch = %v, %v", c, err)
		}
	})
}
