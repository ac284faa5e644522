package identify

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// settle waits for the fetches that are running.
func settle(issuers *Issuers) {
	issuers.mu.Lock()
	running := make([]*fetch, 0, len(issuers.known))
	for _, i := range issuers.known {
		i.mu.Lock()
		if i.running != nil {
			running = append(running, i.running)
		}
		i.mu.Unlock()
	}
	issuers.mu.Unlock()
	for _, f := range running {
		<-f.done
	}
}

// oidcFixture is an issuer, a Directory with its clients, and a good token of
// alice that holds for a day.
type oidcFixture struct {
	*issuerServer
	t       *testing.T
	issuers *Issuers
	d       *Directory
	token   string
}

func newOIDCFixture(t *testing.T) *oidcFixture {
	t.Helper()
	s := newIssuerServer(t, newClock())
	issuers := s.newIssuers(t)
	f := &oidcFixture{issuerServer: s, t: t, issuers: issuers, d: s.directory(t, issuers)}
	f.token = f.signed("rsa", s.rsa)
	return f
}

func (f *oidcFixture) signed(id string, key *rsa.PrivateKey) string {
	f.t.Helper()
	return sign(f.t, jose.RS256, id, key, f.claims(func(c map[string]any) { c["exp"] = f.clock.now().Add(24 * time.Hour).Unix() }))
}

// refused returns why the token is refused, "" if it is alice's.
func (f *oidcFixture) refused(token string) string {
	f.t.Helper()
	i, err := f.d.Identify(f.t.Context(), request(f.t, bearer(token)), remote(), accept(OIDC))
	if err == nil && i.Client != "alice" {
		f.t.Fatalf("client %q, want alice", i.Client)
	}
	return reason(f.t, err)
}

func (f *oidcFixture) want(what, token, reason string) {
	f.t.Helper()
	if got := f.refused(token); got != reason {
		f.t.Errorf("%s: refused with %q, want %q", what, got, reason)
	}
}

func (f *oidcFixture) wantAsked(what string, n int) {
	f.t.Helper()
	settle(f.issuers)
	if got := f.asked(); got != n {
		f.t.Errorf("%s: the issuer was asked %d times, want %d", what, got, n)
	}
}

// Requests of one fetch: discovery and keys.
const perFetch = 2

func TestKeysAreFetchedWhenATokenNeedsThem(t *testing.T) {
	f := newOIDCFixture(t)
	f.wantAsked("at the start", 0)
	f.want("a token of nobody", "canary-x", ReasonInvalidToken)
	f.wantAsked("a token that is no JWT", 0)
	f.want("the first token", f.token, "")
	f.wantAsked("the first token", perFetch)
	f.want("the token again", f.token, "")
	f.want("another token", f.signed("rsa", f.rsa), "")
	f.wantAsked("further tokens", 0)
	f.d = f.directory(t, f.issuers)
	f.want("the token after a reload", f.token, "")
	f.wantAsked("after a reload", 0)
}

func TestAVerifiedTokenIsRememberedWithItsKeys(t *testing.T) {
	f := newOIDCFixture(t)
	verify := func() *idToken {
		t.Helper()
		f.want("the token", f.token, "")
		settle(f.issuers)
		return f.issuers.verified.get(digestOf(f.token))
	}
	first := verify()
	if again := verify(); again != first || first == nil {
		t.Error("the token is verified anew for each request")
	}
	f.clock.advance(refreshAfter)
	verify() // Fetches the keys behind the request.
	if again := verify(); again == first {
		t.Error("the token is not verified anew with the new keys")
	}
}

func digestOf(token string) digest {
	d, err := parseDigest(sha(token))
	if err != nil {
		return digest{}
	}
	return d
}

func TestAWithdrawnKeyIsNotUsedForLong(t *testing.T) {
	f := newOIDCFixture(t)
	f.want("the token", f.token, "")
	f.asked()
	key := f.rotate(t, "new")
	f.clock.advance(refreshAfter)
	f.want("the token while the keys are fetched", f.token, "")
	f.wantAsked("the keys of age", perFetch)
	f.want("the token after the keys were fetched", f.token, ReasonInvalidToken)
	f.want("a token of the new key", f.signed("new", key), "")
}

func TestANewKeyIsFetchedAtMostEveryTenSeconds(t *testing.T) {
	f := newOIDCFixture(t)
	f.want("the first key", f.token, "")
	f.asked()
	token := f.signed("new", f.rotate(t, "new"))
	f.clock.advance(fetchInterval - time.Nanosecond)
	f.want("a new key just after a fetch", token, ReasonInvalidToken)
	f.wantAsked("just after a fetch", 0)
	f.clock.advance(time.Nanosecond)
	f.want("a new key", token, "")
	f.wantAsked("a new key", perFetch)
	f.clock.advance(fetchInterval)
	for n := range 50 {
		f.want("a made-up key", f.signed(fmt.Sprint("made-up-", n), f.rsa), ReasonInvalidToken)
	}
	f.wantAsked("made-up keys", perFetch)
	f.clock.advance(fetchInterval)
	f.want("a stranger's signature of a known key", f.signed("new", f.rsa), ReasonInvalidToken)
	f.wantAsked("a stranger's signature", 0)
}

func TestKeysAreUsedForAnHourWithoutTheIssuer(t *testing.T) {
	f := newOIDCFixture(t)
	f.want("the first token", f.token, "")
	other := f.signed("rsa", f.rsa)
	f.down()
	f.clock.advance(maxKeyAge - time.Second)
	f.want("a known token with old keys", f.token, "")
	f.want("a new token with old keys", other, "")
	f.asked()
	settle(f.issuers)
	f.clock.advance(time.Second)
	f.want("a known token with keys that are too old", f.token, ReasonIssuerUnavailable)
	f.want("a new token with keys that are too old", f.signed("rsa", f.rsa), ReasonIssuerUnavailable)
	f.up()
	f.clock.advance(fetchInterval)
	f.want("a known token when the issuer is back", f.token, "")
}

func TestAnUnknownKeyOfAnIssuerThatIsAwayIsNotCalledInvalid(t *testing.T) {
	f := newOIDCFixture(t)
	f.want("the first token", f.token, "")
	token := f.signed("new", f.rotate(t, "new"))
	f.down()
	f.clock.advance(fetchInterval)
	f.want("a new key while the issuer is away", token, ReasonIssuerUnavailable)
	f.want("a known key then", f.token, "")
}

func TestAnIssuerThatIsAwayAtTheStart(t *testing.T) {
	f := newOIDCFixture(t)
	f.down()
	for range 20 {
		f.want("a token", f.token, ReasonIssuerUnavailable)
	}
	f.wantAsked("twenty tokens", 1)
	_, err := f.d.Identify(t.Context(), request(t, bearer(f.token)), local(1001), everything())
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Err == nil || !strings.Contains(refusal.Err.Error(), "502") || !strings.Contains(refusal.Err.Error(), f.URL) {
		t.Errorf("refused with %#v, want the cause, and no client by uid", err)
	}
	f.up()
	f.clock.advance(fetchInterval)
	f.want("a token when the issuer is back", f.token, "")
}

func TestWhatAnIssuerMustNotAnswer(t *testing.T) {
	elsewhere := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	page := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
	}
	for name, c := range map[string]struct {
		change func(f *oidcFixture)
		says   string
	}{
		"another issuer's configuration": {func(f *oidcFixture) {
			f.answer = page(`{"issuer":"https://evil.example.org","jwks_uri":"` + f.URL + `/keys"}`)
		}, "discovery"},
		"keys over http":            {func(f *oidcFixture) { f.keysURL = strings.Replace(f.URL, "https", "http", 1) + "/keys" }, "https"},
		"no place of its keys":      {func(f *oidcFixture) { f.answer = page(`{"issuer":"` + f.URL + `"}`) }, "jwks_uri"},
		"no keys at their place":    {func(f *oidcFixture) { f.keysURL = f.URL + "/none" }, "404"},
		"a page without an end":     {func(f *oidcFixture) { f.answer = page(strings.Repeat(" ", maxDocument+1)) }, "too large"},
		"a page that is no JSON":    {func(f *oidcFixture) { f.answer = page("<html>") }, "discovery"},
		"no key that can be used":   {func(f *oidcFixture) { f.keys = []jose.JSONWebKey{{Key: []byte("secret"), KeyID: "x"}} }, "none of the keys"},
		"more keys than are needed": {func(f *oidcFixture) { f.keys = slices.Repeat(f.keys, maxKeys+1) }, "65 keys"},
		"a redirect to another host": {func(f *oidcFixture) {
			f.answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }
		}, "another host"},
		"a redirect to http": {func(f *oidcFixture) {
			f.answer = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+r.Host+"/x", http.StatusFound)
			}
		}, "another host"},
		"redirects without an end": {func(f *oidcFixture) {
			f.answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }
		}, "too often"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newOIDCFixture(t)
			f.set(func() { c.change(f) })
			_, err := f.d.Identify(t.Context(), request(t, bearer(f.token)), remote(), everything())
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Reason != ReasonIssuerUnavailable || !strings.Contains(fmt.Sprint(refusal.Err), c.says) {
				t.Errorf("refused with %v (%v), want %s for %q", err, errors.Unwrap(err), ReasonIssuerUnavailable, c.says)
			}
			if n := len(fmt.Sprint(errors.Unwrap(err))); n > 700 {
				t.Errorf("the cause is %d bytes long", n)
			}
		})
	}
}

func TestARedirectWithinTheHostIsFollowed(t *testing.T) {
	f := newOIDCFixture(t)
	f.set(func() {
		f.answer = func(w http.ResponseWriter, r *http.Request) {
			f.up()
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}
	})
	f.want("a token", f.token, "")
}

func TestTheCAFileIsReadForEachFetch(t *testing.T) {
	f := newOIDCFixture(t)
	f.want("a token", f.token, "")
	// All test servers have one certificate, so another's is made.
	other, err := os.ReadFile(f.caFile)
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{"none": ReasonIssuerUnavailable, string(other): ""} {
		if err := os.WriteFile(f.caFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f.clock.advance(maxKeyAge)
		f.want("a token", f.token, want)
	}
}

func TestAnIssuerOfAnotherCAIsNotBelieved(t *testing.T) {
	f := newOIDCFixture(t)
	m := f.match("email", "alice@example.org")
	m.OIDC.CAFile = "" // The system's, which do not know the server.
	f.d = newDirectory(t, []Client{{Name: "alice", Match: []Match{m}}}, Options{OIDC: f.issuers, Now: f.clock.now})
	f.want("a token", f.token, ReasonIssuerUnavailable)
}

// hang makes the issuer hang until the test or the request ends, and returns a
// channel that tells of each request.
func (f *oidcFixture) hang() (begun <-chan struct{}, release func()) {
	requests, released := make(chan struct{}, 100), make(chan struct{})
	f.set(func() {
		f.answer = func(w http.ResponseWriter, r *http.Request) {
			requests <- struct{}{}
			select {
			case <-released:
			case <-r.Context().Done():
			}
			http.Error(w, "late", http.StatusServiceUnavailable)
		}
	})
	once := sync.OnceFunc(func() { close(released) })
	f.t.Cleanup(once)
	return requests, once
}

func TestAFetchThatHangsHoldsNobodyWithAKnownKey(t *testing.T) {
	f := newOIDCFixture(t)
	f.want("the first token", f.token, "")
	unknown := f.signed("new", f.rotate(t, "new"))
	f.clock.advance(refreshAfter)
	begun, release := f.hang()

	waiting := make(chan string)
	for range 3 {
		go func() { waiting <- f.refused(unknown) }()
	}
	<-begun
	f.want("a known token", f.token, "")
	f.want("a new token of a known key", f.signed("rsa", f.rsa), "")

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.d.Identify(gone, request(t, bearer(unknown)), remote(), everything()); reason(t, err) != ReasonIssuerUnavailable {
		t.Errorf("a client that is gone: %v", err)
	}
	release()
	for range 3 {
		if got := <-waiting; got != ReasonIssuerUnavailable {
			t.Errorf("a token of an unknown key: refused with %q", got)
		}
	}
	if n := len(begun); n != 0 {
		t.Errorf("there were %d fetches more than one", n)
	}
}

func TestCloseEndsAFetch(t *testing.T) {
	f := newOIDCFixture(t)
	begun, _ := f.hang()
	waiting := make(chan string)
	go func() { waiting <- f.refused(f.token) }()
	<-begun
	f.issuers.Close()
	if got := <-waiting; got != ReasonIssuerUnavailable {
		t.Errorf("the token that waited: refused with %q", got)
	}
	f.up()
	f.clock.advance(fetchInterval)
	f.asked()
	f.want("a token after Close", f.token, ReasonIssuerUnavailable)
	f.wantAsked("after Close", 0)
}

func TestManyTokensAtOnce(t *testing.T) {
	f := newOIDCFixture(t)
	tokens := make([]string, 8)
	for n := range tokens {
		tokens[n] = sign(t, jose.RS256, "rsa", f.rsa, f.claims(func(c map[string]any) { c["jti"] = n }))
	}
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			for round := range 20 {
				if got := f.refused(tokens[(n+round)%len(tokens)]); got != "" {
					t.Errorf("refused with %q", got)
				}
				if n == 0 {
					f.clock.advance(refreshAfter / 5)
				}
			}
		})
	}
	all.Wait()
	settle(f.issuers)
	if n := f.asked(); n > 20*perFetch {
		t.Errorf("the issuer was asked %d times", n)
	}
}

func TestKeysOfNoUseAreLeftOut(t *testing.T) {
	strong, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	const weak = `{"kty":"RSA","kid":"weak","e":"AQAB","n":"%s"}`
	keys := func(each ...string) []byte { return []byte(`{"keys":[` + strings.Join(each, ",") + `]}`) }
	good, err := json.Marshal(jose.JSONWebKey{Key: strong.Public(), KeyID: "good"})
	if err != nil {
		t.Fatal(err)
	}
	modulus := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 128)) // 1024 bits
	set, err := parseKeys(keys(fmt.Sprintf(weak, modulus), string(good),
		`{"kty":"OKP","crv":"Ed448","kid":"curve","x":"AA"}`, `{"kty":"new","kid":"type"}`, `{"kid":"broken"}`, `7`))
	if err != nil || len(set.keys) != 1 || !set.has("good") {
		t.Fatalf("%v (%v), want the good one alone", set, err)
	}
	for name, document := range map[string][]byte{"weak keys alone": keys(fmt.Sprintf(weak, modulus)), "no keys": keys(), "no set": []byte(`[]`), "nothing": nil} {
		if set, err := parseKeys(document); err == nil {
			t.Errorf("%s: %v", name, set)
		}
	}
}

func TestTheTokensUsedLastAreRemembered(t *testing.T) {
	c := newTokenCache(3)
	sum := func(n byte) digest { return digest{n} }
	tokens := make([]*idToken, 5)
	for n := range tokens {
		tokens[n] = &idToken{}
	}
	for n := range 3 {
		c.put(sum(byte(n)), tokens[n])
	}
	c.get(sum(0))
	c.put(sum(3), tokens[3])
	c.put(sum(2), tokens[4]) // In the place of another.
	for n, want := range []*idToken{tokens[0], nil, tokens[4], tokens[3]} {
		if got := c.get(sum(byte(n))); got != want {
			t.Errorf("token %d is %p, want %p", n, got, want)
		}
	}
	if len(c.tokens) != 3 || c.used.Len() != 3 {
		t.Errorf("there are %d and %d tokens, want 3", len(c.tokens), c.used.Len())
	}
}
