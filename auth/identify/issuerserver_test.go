package identify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// rsaKey is the RSA key of all tests of this package: making one takes time.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// issuerServer is an OpenID Connect issuer.
type issuerServer struct {
	*httptest.Server
	caFile string
	clock  *clock
	rsa    *rsa.PrivateKey

	mu       sync.Mutex
	keys     []jose.JSONWebKey
	answer   http.HandlerFunc // instead of the issuer's own
	keysURL  string           // instead of the issuer's own
	requests int
}

func newIssuerServer(t testing.TB, c *clock) *issuerServer {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &issuerServer{clock: c, rsa: key, keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "rsa", Use: "sig"}}}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	s.caFile = filepath.Join(t.TempDir(), "ca.pem")
	s.trust(t)
	return s
}

// trust writes the server's certificate into the CA file.
func (s *issuerServer) trust(t testing.TB) {
	t.Helper()
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(s.caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *issuerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	answer, keys, keysURL := s.answer, jose.JSONWebKeySet{Keys: s.keys}, s.keysURL
	s.requests++
	s.mu.Unlock()
	if keysURL == "" {
		keysURL = s.URL + "/keys"
	}
	switch {
	case answer != nil:
		answer(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": s.URL, "jwks_uri": keysURL})
	case r.URL.Path == "/keys":
		_ = json.NewEncoder(w).Encode(keys)
	default:
		http.NotFound(w, r)
	}
}

// set changes the server between two requests.
func (s *issuerServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// asked returns the number of requests since it was asked last.
func (s *issuerServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.requests
	s.requests = 0
	return n
}

// down makes each request fail.
func (s *issuerServer) down() {
	s.set(func() {
		s.answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary-page", http.StatusBadGateway) }
	})
}

func (s *issuerServer) up() { s.set(func() { s.answer = nil }) }

// rotate publishes another RSA key in the place of all.
func (s *issuerServer) rotate(t testing.TB, id string) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: id}} })
	return key
}

// publish adds a key for each algorithm that is not RSA's.
func (s *issuerServer) publish(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	signers := map[string]crypto.Signer{}
	for id, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signers[id] = key
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signers["EdDSA"] = key
	s.set(func() {
		for id, key := range signers {
			s.keys = append(s.keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: id})
		}
	})
	return signers
}

// claims are those of a good token of alice, changed.
func (s *issuerServer) claims(change func(c map[string]any)) map[string]any {
	now := s.clock.now()
	c := map[string]any{
		"iss": s.URL, "sub": "alice-at-issuer", "aud": "kuberelay", "email": "alice@example.org", "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	if change != nil {
		change(c)
	}
	return c
}

// sign returns the claims in a token of the algorithm and key.
func sign(t testing.TB, algorithm jose.SignatureAlgorithm, id string, key any, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	return serialise(t, signer, claims)
}

// serialise returns the claims in a token that the signer has signed.
func serialise(t testing.TB, signer jose.Signer, claims any) string {
	t.Helper()
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// token is a good token of alice, with its claims changed.
func (s *issuerServer) token(t testing.TB, change func(c map[string]any)) string {
	t.Helper()
	return sign(t, jose.RS256, "rsa", s.rsa, s.claims(change))
}

// match is a match of the issuer.
func (s *issuerServer) match(claim, value string) Match {
	return Match{OIDC: &OIDCMatch{Issuer: s.URL, CAFile: s.caFile, Audience: "kuberelay", Claim: claim, Value: value}}
}

// directory has alice and bob by their e-mail addresses, and others by other
// claims.
func (s *issuerServer) directory(t testing.TB, issuers *Issuers) *Directory {
	t.Helper()
	return newDirectory(t, []Client{
		{Name: "alice", Match: []Match{s.match("email", "alice@example.org"), {UID: new(uint32(1001))}}},
		{Name: "bob", Match: []Match{s.match("email", "bob@example.org")}},
		{Name: "carol", Match: []Match{s.match("", "carol-at-issuer")}},
		{Name: "ops", Match: []Match{s.match("groups", "ops")}},
		{Name: "robot", Match: []Match{{TokenSHA256: sha(aliceToken)}}},
	}, Options{OIDC: issuers, Now: s.clock.now})
}

// newIssuers returns Issuers that end with the test.
func (s *issuerServer) newIssuers(t testing.TB) *Issuers {
	t.Helper()
	issuers := NewIssuers(s.clock.now)
	t.Cleanup(issuers.Close)
	return issuers
}
