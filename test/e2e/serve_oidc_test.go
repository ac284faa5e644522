package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issuer is an OpenID Connect issuer with one key.
type issuer struct {
	*httptest.Server
	key    *ecdsa.PrivateKey
	caFile string
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	point, err := key.PublicKey.Bytes() // 4, X, Y
	check(t, err)
	i := &issuer{key: key, caFile: filepath.Join(t.TempDir(), "ca.pem")}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var document any
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			document = map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
		case "/keys":
			document = map[string]any{"keys": []map[string]string{{
				"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1", "x": base64url(point[1:33]), "y": base64url(point[33:]),
			}}}
		default:
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(document) // who asks sees what is missing
	}))
	t.Cleanup(i.Close)
	check(t, os.WriteFile(i.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}), 0o600))
	return i
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is an ID token with the claims, signed with key as ES256 (RFC 7515).
func (i *issuer) token(t *testing.T, key *ecdsa.PrivateKey, change func(claims map[string]any)) string {
	t.Helper()
	claims := map[string]any{
		"iss": i.URL, "sub": "1234", "aud": "kuberelay", "email": "alice@example.org", "email_verified": true,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	if change != nil {
		change(claims)
	}
	payload, err := json.Marshal(claims)
	check(t, err)
	signed := base64url([]byte(`{"alg":"ES256","kid":"1","typ":"JWT"}`)) + "." + base64url(payload)
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	check(t, err)
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64url(signature)
}

// TestServeOIDC calls with ID tokens of a local issuer, with kubectl too.
func TestServeOIDC(t *testing.T) {
	i := startIssuer(t)
	alice := people(t, "alice")[0]
	match := fmt.Sprintf("{oidc: {issuer: %q, caFile: %s, audience: kuberelay, claim: email, value: alice@example.org}}", i.URL, i.caFile)
	s := startServe(t, setup{
		clients: []string{strings.Replace(alice.client("reader"), alice.match(), match, 1)},
		listeners: []string{fmt.Sprintf(
			`{name: team, address: "127.0.0.1:0", mode: shared, cluster: lab, tls: %s, identify: [oidc]}`, servingTLS(t))},
	})
	r := s.record()
	alice.token = i.token(t, i.key, nil)
	as := s.byToken(alice)
	if out := as.mustKubectl("", "get", "pods", "-n", "kube-system", "-l", "by=oidc"); out != "" {
		t.Errorf("kubectl get pods: %q", out)
	}
	code, header, body, err := as.request("GET", "/api/v1/namespaces/default/pods", "")
	if err != nil || code != 200 {
		t.Fatalf("alice: HTTP %d %v %s", code, err, body)
	}
	isAs(t, r.server(header.Get("Audit-Id")), alice)
	if own := r.own(header.Get("Audit-Id")); own.User.Username != "alice" || own.Annotations["kuberelay/auth-method"] != "oidc" {
		t.Errorf("kuberelay has on record %+v, want alice by oidc", own)
	}

	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	for name, token := range map[string]string{
		"another key":       i.token(t, other, nil),
		"expired":           i.token(t, i.key, func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }),
		"another audience":  i.token(t, i.key, func(c map[string]any) { c["aud"] = "another" }),
		"another issuer":    i.token(t, i.key, func(c map[string]any) { c["iss"] = "https://login.example.org" }),
		"another person":    i.token(t, i.key, func(c map[string]any) { c["email"] = "bob@example.org" }),
		"email not checked": i.token(t, i.key, func(c map[string]any) { c["email_verified"] = false }),
		"no signature":      strings.Join(strings.Split(alice.token, ".")[:2], ".") + ".",
	} {
		as.as.token = token
		code, header, body, err := as.request("GET", "/api/v1/namespaces/default/pods", "")
		if err != nil || code != 401 {
			t.Errorf("%s: HTTP %d %v %s, want 401", name, code, err, body)
		}
		if r.settle(); r.serverEvents[header.Get("Audit-Id")].AuditID != "" {
			t.Errorf("%s: it reached an API server", name)
		}
	}
}
