package identify

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestIDTokensIdentifyByTheirClaims(t *testing.T) {
	s := newIssuerServer(t, newClock())
	d := s.directory(t, s.newIssuers(t))
	set := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	sets := func(pairs ...any) func(map[string]any) {
		return func(c map[string]any) {
			for n := 0; n < len(pairs); n += 2 {
				c[pairs[n].(string)] = pairs[n+1]
			}
		}
	}
	without := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	at := func(d time.Duration) int64 { return s.clock.now().Add(d).Unix() }

	for name, c := range map[string]struct {
		change func(map[string]any)
		client string
		reason string
	}{
		"a claim that is the value":              {nil, "alice", ""},
		"a claim that has the value in its list": {sets("email", "nobody@example.org", "groups", []string{"dev", "ops"}), "ops", ""},
		"the default claim":                      {sets("email", "nobody@example.org", "sub", "carol-at-issuer"), "carol", ""},
		"one audience of several":                {set("aud", []string{"other", "kuberelay"}), "alice", ""},
		"a value in another case":                {set("email", "ALICE@example.org"), "", ReasonUnknownClient},
		"a claim's name in another case":         {sets("email", "x@example.org", "Email", "alice@example.org"), "", ReasonUnknownClient},
		"a value that begins like one":           {set("email", "alice@example.org.evil"), "", ReasonUnknownClient},
		"a claim of another type":                {set("email", 7), "", ReasonUnknownClient},
		"a list with more than strings":          {sets("email", "x@example.org", "groups", []any{"ops", 7}), "", ReasonUnknownClient},
		"a list with null":                       {sets("email", "x@example.org", "groups", []any{"ops", nil}), "", ReasonUnknownClient},
		"no such claim":                          {without("email"), "", ReasonUnknownClient},
		"claims of two clients":                  {set("groups", []string{"ops"}), "", ReasonConflict},
		"an e-mail address that is not verified": {set("email_verified", false), "", ReasonUnknownClient},
		"an e-mail address of unknown standing":  {without("email_verified"), "", ReasonUnknownClient},
		"an e-mail address verified in a string": {set("email_verified", "true"), "", ReasonUnknownClient},

		"another audience":                {set("aud", "other"), "", ReasonInvalidToken},
		"an audience that begins like it": {set("aud", "kuberelay-x"), "", ReasonInvalidToken},
		"no audience":                     {without("aud"), "", ReasonInvalidToken},
		"another issuer":                  {set("iss", "https://evil.example.org"), "", ReasonInvalidToken},
		"the issuer with a slash":         {set("iss", s.URL+"/"), "", ReasonInvalidToken},
		"no issuer":                       {without("iss"), "", ReasonInvalidToken},
		"an issuer in another claim":      {sets("iss", "", "ISS", s.URL), "", ReasonInvalidToken},
		"no subject":                      {without("sub"), "", ReasonInvalidToken},
		"expired now":                     {set("exp", at(0)), "", ReasonExpired},
		"expired long ago":                {set("exp", at(-time.Hour)), "", ReasonExpired},
		"no expiry":                       {without("exp"), "", ReasonInvalidToken},
		"an expiry that is null":          {set("exp", nil), "", ReasonInvalidToken},
		"an expiry that is no time":       {set("exp", -1), "", ReasonInvalidToken},
		"an expiry out of all range":      {set("exp", 1e300), "", ReasonInvalidToken},
		"valid from now":                  {set("nbf", at(0)), "alice", ""},
		"valid within the clocks' skew":   {set("nbf", at(maxSkew)), "alice", ""},
		"valid later":                     {set("nbf", at(maxSkew+time.Second)), "", ReasonExpired},
		"issued within the clocks' skew":  {set("iat", at(maxSkew)), "alice", ""},
		"issued later":                    {set("iat", at(maxSkew+time.Second)), "", ReasonExpired},
		"issued at no time":               {without("iat"), "alice", ""},
		"an nbf that is a string":         {set("nbf", "now"), "", ReasonInvalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			token := s.token(t, c.change)
			for _, time := range []string{"first", "second"} { // The second time it may be remembered.
				i, err := d.Identify(t.Context(), request(t, bearer(token)), remote(), everything())
				if got := reason(t, err); got != c.reason || i.Client != c.client {
					t.Fatalf("the %s time: client %q, refused with %q (%v), want %q, %q", time, i.Client, got, err, c.client, c.reason)
				}
			}
		})
	}
}

func TestIDTokenIsEvidence(t *testing.T) {
	s := newIssuerServer(t, newClock())
	d := s.directory(t, s.newIssuers(t))
	token := s.token(t, func(c map[string]any) { c["sub"] = "a\n\"é+%" + strings.Repeat("x", 1000) })
	i, err := d.Identify(t.Context(), request(t, bearer(token)), local(1001), everything())
	if err != nil {
		t.Fatal(err)
	}
	want := "uid:1001+oidc:" + s.URL + "#a%0A%22%C3%A9%2B%25xxx"
	if got := i.ID(); !strings.HasPrefix(got, want) || len(got) > 600 || !strings.HasSuffix(got, "...") || i.Method() != "uid+oidc" {
		t.Errorf("evidence %q of %q, want %q…", got, i.Method(), want)
	}
	if want := s.clock.now().Add(time.Hour); !i.Expires.Equal(want) {
		t.Errorf("expires at %v, want %v", i.Expires, want)
	}
	for name, c := range map[string]struct {
		peer     *Peer
		accepted Accepted
		token    string
		reason   string
	}{
		"beside a uid of another client":    {local(1001), everything(), s.token(t, func(c map[string]any) { c["email"] = "bob@example.org" }), ReasonConflict},
		"where other tokens are accepted":   {remote(), accept(Bearer), token, ReasonMethodNotAccepted},
		"where only uids are":               {local(1001), accept(UID), token, ReasonMethodNotAccepted},
		"a configured token where OIDC is":  {remote(), accept(OIDC), aliceToken, ReasonMethodNotAccepted},
		"a token that is neither":           {remote(), everything(), "canary-other", ReasonInvalidToken},
		"a token in JSON and not compact":   {remote(), everything(), inJSON(t, s), ReasonInvalidToken},
		"a token of four parts":             {remote(), everything(), token + ".x", ReasonInvalidToken},
		"a token whose payload is not JSON": {remote(), everything(), "e30.bm8.e30", ReasonInvalidToken},
	} {
		if _, err := d.Identify(t.Context(), request(t, bearer(c.token)), c.peer, c.accepted); reason(t, err) != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
		}
	}
}

// inJSON is a good token in the JSON serialization.
func inJSON(t *testing.T, s *issuerServer) string {
	t.Helper()
	part := strings.Split(s.token(t, nil), ".")
	raw, err := json.Marshal(map[string]string{"protected": part[0], "payload": part[1], "signature": part[2]})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestSignaturesOfPublicKeysAreTaken(t *testing.T) {
	s := newIssuerServer(t, newClock())
	others := s.publish(t)
	d := s.directory(t, s.newIssuers(t))
	for _, algorithm := range algorithms() {
		var token string
		if key, ok := others[string(algorithm)]; ok {
			token = sign(t, algorithm, string(algorithm), key, s.claims(nil))
		} else {
			token = sign(t, algorithm, "rsa", s.rsa, s.claims(nil))
		}
		if i, err := d.Identify(t.Context(), request(t, bearer(token)), remote(), accept(OIDC)); err != nil || i.Client != "alice" {
			t.Errorf("%s: client %q, %v", algorithm, i.Client, err)
		}
	}
}

func TestSignaturesThatProveNothingAreRefused(t *testing.T) {
	s := newIssuerServer(t, newClock())
	others := s.publish(t)
	s.set(func() {
		// A symmetric key, a private one and one for encryption are no keys.
		s.keys = append(s.keys,
			jose.JSONWebKey{Key: []byte("canary-secret-canary-secret-canary"), KeyID: "symmetric"},
			jose.JSONWebKey{Key: s.rsa, KeyID: "private"},
			jose.JSONWebKey{Key: s.rsa.Public(), KeyID: "RS256", Algorithm: "RS256"},
			jose.JSONWebKey{Key: s.rsa.Public(), KeyID: "encryption", Use: "enc"})
	})
	d := s.directory(t, s.newIssuers(t))
	claims := s.claims(nil)
	public, err := x509.MarshalPKIXPublicKey(s.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	good := s.token(t, nil)
	part := strings.Split(good, ".")
	bob := strings.Split(s.token(t, func(c map[string]any) { c["email"] = "bob@example.org" }), ".")
	header := func(h string) string { return base64.RawURLEncoding.EncodeToString([]byte(h)) }
	stranger := newIssuerServer(t, s.clock).rotate(t, "rsa")

	for name, token := range map[string]string{
		"alg none without signature":              header(`{"alg":"none"}`) + "." + part[1] + ".",
		"alg none with a signature":               header(`{"alg":"none","kid":"rsa"}`) + "." + part[1] + "." + part[2],
		"alg None in another case":                header(`{"alg":"NonE","kid":"rsa"}`) + "." + part[1] + ".",
		"no alg":                                  header(`{"kid":"rsa"}`) + "." + part[1] + "." + part[2],
		"HS256 with the public key as its secret": sign(t, jose.HS256, "rsa", publicPEM, claims),
		"HS256 with a published secret":           sign(t, jose.HS256, "symmetric", []byte("canary-secret-canary-secret-canary"), claims),
		"a published private key":                 sign(t, jose.RS256, "private", s.rsa, claims),
		"a key that is for encryption":            sign(t, jose.RS256, "encryption", s.rsa, claims),
		"a stranger's key of the same ID":         sign(t, jose.RS256, "rsa", stranger, claims),
		"a stranger's key without ID":             sign(t, jose.RS256, "", stranger, claims),
		"another key than the one it names":       sign(t, jose.ES256, "ES384", others["ES256"], claims),
		"another algorithm of the same key":       sign(t, jose.PS256, "RS256", s.rsa, claims),
		"another algorithm than the key's":        sign(t, jose.RS256, "ES256", s.rsa, claims),
		"another's claims":                        part[0] + "." + bob[1] + "." + part[2],
		"another's signature":                     part[0] + "." + part[1] + "." + bob[2],
		"no signature":                            part[0] + "." + part[1] + ".",
		"a cut signature":                         good[:len(good)-8],
		"a stranger's key that it brings itself":  withOwnKey(t, stranger, claims),
	} {
		t.Run(name, func(t *testing.T) {
			i, err := d.Identify(t.Context(), request(t, bearer(token)), remote(), everything())
			if got := reason(t, err); got != ReasonInvalidToken {
				t.Errorf("client %q, refused with %q (%v), want %q", i.Client, got, err, ReasonInvalidToken)
			}
		})
	}
	if i, err := d.Identify(t.Context(), request(t, bearer(sign(t, jose.RS256, "", s.rsa, claims))), remote(), everything()); err != nil || i.Client != "alice" {
		t.Errorf("a token that names no key: client %q, %v, want alice", i.Client, err)
	}
}

// withOwnKey is a token whose header has the key to verify it with.
func withOwnKey(t *testing.T, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	return serialise(t, signer, claims)
}

func TestReviewOfAnIDTokenAsksNoIssuer(t *testing.T) {
	s := newIssuerServer(t, newClock())
	issuers := s.newIssuers(t)
	before := s.directory(t, issuers)
	i, err := before.Identify(t.Context(), request(t, bearer(s.token(t, nil))), remote(), everything())
	if err != nil {
		t.Fatal(err)
	}
	s.down()
	s.asked()
	other := s.match("email", "alice@example.org")
	other.OIDC.Audience = "other"
	for name, c := range map[string]struct {
		clients []Client
		reason  string
	}{
		"the match is there":     {[]Client{{Name: "alice", Match: []Match{s.match("email", "alice@example.org")}}}, ""},
		"the match is another's": {[]Client{{Name: "bob", Match: []Match{s.match("email", "alice@example.org")}}}, ReasonUnknownClient},
		"the value has gone":     {[]Client{{Name: "alice", Match: []Match{s.match("email", "bob@example.org")}}}, ReasonUnknownClient},
		"the audience has gone":  {[]Client{{Name: "alice", Match: []Match{other}}}, ReasonInvalidToken},
		"the issuer has gone":    {[]Client{{Name: "alice", Match: []Match{{UID: new(uint32(1))}}}}, ReasonUnknownClient},
		"another claim is bob's": {[]Client{
			{Name: "alice", Match: []Match{s.match("email", "alice@example.org")}}, {Name: "bob", Match: []Match{s.match("sub", "alice-at-issuer")}},
		}, ReasonConflict},
	} {
		after := newDirectory(t, c.clients, Options{OIDC: issuers, Now: s.clock.now})
		if got := reason(t, after.Review(&i, s.clock.now())); got != c.reason {
			t.Errorf("%s: refused with %q, want %q", name, got, c.reason)
		}
		if got := reason(t, after.Review(&i, i.Expires)); got != ReasonExpired {
			t.Errorf("%s, and the token has expired: refused with %q", name, got)
		}
	}
	if n := s.asked(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}
