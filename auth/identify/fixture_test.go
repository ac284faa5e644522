package identify

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/internal/headers"
)

const subprotocolPrefix = headers.BearerSubprotocol

// A clock of a test: it goes when it is told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Tokens of the tests, each with its owner's name in it: text that must never
// be seen again.
const (
	aliceToken = "canary-alice-0123456789"
	bobToken   = "canary-bob-0123456789"
)

func sha(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// team is the clients of most tests: alice by everything, bob and root by some.
func team(expires time.Time) []Client {
	return []Client{
		{Name: "alice", Match: []Match{
			{UID: new(uint32(1001))}, {TokenSHA256: sha(aliceToken), Expires: expires}, {Certificate: &CertificateMatch{CommonName: "alice"}},
		}},
		{Name: "bob", Match: []Match{{UnixUser: "bob"}, {TokenSHA256: sha(bobToken)}, {Certificate: &CertificateMatch{CommonName: "bob"}}}},
		{Name: "root", Match: []Match{{UID: new(uint32(0))}}},
	}
}

// users is the system's user database of the tests.
func users(name string) (uint32, error) {
	known := map[string]uint32{"root": 0, "alice": 1001, "bob": 1002, "nobody": overflowUID, "last": noUID}
	if id, ok := known[name]; ok {
		return id, nil
	}
	return 0, errors.New("unknown user")
}

func newDirectory(t testing.TB, clients []Client, o Options) *Directory {
	t.Helper()
	if o.LookupUser == nil {
		o.LookupUser = users
	}
	d, err := NewDirectory(clients, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// request is a GET with the header lines "Name: value", spelled as they are.
func request(t testing.TB, lines ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", "https://127.0.0.1/api/v1/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%q is not a header line", line)
		}
		r.Header[name] = append(r.Header[name], value)
	}
	return r
}

func bearer(token string) string { return "Authorization: Bearer " + token }

func subprotocol(token string) string {
	return subprotocolPrefix + base64.RawURLEncoding.EncodeToString([]byte(token))
}

func local(uid uint32) *Peer { return &Peer{UID: uid, UIDKnown: true, Loopback: true} }

func remote() *Peer { return &Peer{} }

func accept(methods ...Method) Accepted { return NewAccepted(methods) }

func everything() Accepted { return NewAccepted(Methods()) }

// reason is why the error is a refusal, "" if it is nil.
func reason(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("error is a %T, not a *Refusal: %v", err, err)
	}
	if strings.Contains(refusal.Message, "canary") {
		t.Errorf("the message has a token: %s", refusal.Message)
	}
	return refusal.Reason
}
