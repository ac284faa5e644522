package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/auth/policy"
)

const gateToken = "canary-gate-token"

// withheld are credentials that count how often they were asked for.
type withheld struct{ asked atomic.Int64 }

func (w *withheld) Lease(context.Context) (*auth.Lease, error) {
	w.asked.Add(1)
	return nil, &auth.UnavailableError{Name: "withheld", Err: errNoUpstream}
}

func (w *withheld) Refused(context.Context, *auth.Lease) (*auth.Lease, error) {
	w.asked.Add(1)
	return nil, &auth.UnavailableError{Name: "withheld", Err: errNoUpstream}
}

// noted is a Recorder that keeps what it hears.
type noted struct {
	mu      sync.Mutex
	denials []Denial
	records []Record
}

func (n *noted) Begin(string, string) {}

func (n *noted) End(_ string, r *Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records = append(n.records, *r)
}

func (n *noted) Denied(_ *http.Request, d Denial) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.denials = append(n.denials, d)
}

func tokenMatch(token string) identify.Match {
	sum := sha256.Sum256([]byte(token))
	return identify.Match{TokenSHA256: hex.EncodeToString(sum[:])}
}

// accessFor is a generation in which the client may do what is edited into it.
func accessFor(t *testing.T, with Credentials, edit func(*Access, *Grant)) *Access {
	t.Helper()
	directory, err := identify.NewDirectory([]identify.Client{
		{Name: "alice", Match: []identify.Match{tokenMatch(gateToken)}},
	}, identify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := policy.Compile(policy.Config{Name: "all", Rules: []policy.Rule{
		{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
		{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	grant := &Grant{Cluster: &Cluster{Name: "test"}, Credential: "withheld", Credentials: with, Policy: all, PolicyName: "all"}
	a := &Access{
		Directory: directory,
		Clients: map[string]*Client{"alice": {
			Name: "alice", Grants: map[string]*Grant{"test": grant}, Limiter: limit.New(limit.DefaultConfig()), Seen: &Seen{},
		}},
		Listeners: map[string]identify.Accepted{"shared": identify.NewAccepted([]identify.Method{identify.Bearer})},
	}
	if edit != nil {
		edit(a, grant)
	}
	return a
}

// TestWhatPassedTheGatesBeforeAChangeIsCheckedAgainstIt changes who may do what
// after a request has read it and before the registry knows the request: the
// change's own look at the registry cannot have found it, and yet what is no
// longer allowed does not go on.
func TestWhatPassedTheGatesBeforeAChangeIsCheckedAgainstIt(t *testing.T) {
	nothing, err := policy.Compile(policy.Config{Name: "nothing", Rules: []policy.Rule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/nothing"}}}})
	if err != nil {
		t.Fatal(err)
	}
	as, err := auth.NewAs(auth.Impersonation{User: "another"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit   func(*Access, *Grant)
		code   int
		reason CloseReason
	}{
		"a revocation":                {func(a *Access, _ *Grant) { a.Revoked = map[string]time.Time{"alice": {}} }, 401, CloseRevoked},
		"a client that is removed":    {func(a *Access, _ *Grant) { clear(a.Clients) }, 401, CloseRemoved},
		"a grant that is removed":     {func(a *Access, _ *Grant) { clear(a.Clients["alice"].Grants) }, 401, CloseRemoved},
		"a listener that is removed":  {func(a *Access, _ *Grant) { clear(a.Listeners) }, 401, CloseRemoved},
		"a method that is removed":    {func(a *Access, _ *Grant) { a.Listeners["shared"] = identify.Accepted{} }, 401, CloseRemoved},
		"a policy that is narrowed":   {func(_ *Access, g *Grant) { g.Policy = nothing }, 403, ClosePolicy},
		"another credential":          {func(_ *Access, g *Grant) { g.Credentials = &withheld{} }, 403, CloseCredential},
		"another user":                {func(_ *Access, g *Grant) { g.As = as }, 403, ClosePolicy},
		"nothing that concerns it":    {nil, 503, ""},
		"a revocation that has ended": {func(a *Access, _ *Grant) { a.Revoked = map[string]time.Time{"alice": time.Now().Add(-time.Hour)} }, 503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				registry Registry
				now      atomic.Pointer[Access]
				recorder noted
				with     withheld
			)
			now.Store(accessFor(t, &with, nil))
			next := accessFor(t, &with, c.edit)
			h := NewHandler(Options{Listener: "shared", Registry: &registry, Recorder: &recorder, Shared: &SharedOptions{
				Access: &now, Cluster: "test", Hosts: []string{"localhost"},
				Peer: func(*http.Request) *identify.Peer { // asked after the generation was read
					now.Store(next)
					if n := registry.Review(func(c *Caller) error { return next.Review(c, time.Now()) }); n != 0 {
						t.Errorf("the change has found %d requests", n)
					}
					return &identify.Peer{Loopback: true}
				},
			}})
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/version", nil)
			r.Host = "localhost"
			r.Header.Set("Authorization", "Bearer "+gateToken)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.code {
				t.Errorf("answer %d %s, want %d", w.Code, w.Body, c.code)
			}
			asked := with.asked.Load()
			if passes := c.reason == ""; passes != (asked == 1) {
				t.Errorf("the credential was asked for %d times", asked)
			}
			if len(recorder.denials) != 0 || len(recorder.records) != 1 || recorder.records[0].CloseReason != c.reason {
				t.Errorf("recorded %+v and %+v, want one request, ended as %q", recorder.denials, recorder.records, c.reason)
			}
			if registry.Len() != 0 {
				t.Errorf("%d requests are left in the registry", registry.Len())
			}
		})
	}
}

// requestAt sends a request with a bearer token to a shared listener's handler.
func requestAt(t *testing.T, h *Handler, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/version", nil)
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestListenerAcceptsWhatTheGenerationOfNowSays has a handler that is still the
// one of before a reload: it accepts no evidence that the new generation does
// not accept of its listener.
func TestListenerAcceptsWhatTheGenerationOfNowSays(t *testing.T) {
	var now atomic.Pointer[Access]
	var with withheld
	now.Store(accessFor(t, &with, func(a *Access, _ *Grant) {
		a.Listeners["shared"] = identify.NewAccepted([]identify.Method{identify.OIDC})
	}))
	h := NewHandler(Options{Listener: "shared", Registry: &Registry{}, Recorder: &noted{}, Shared: &SharedOptions{
		Access: &now, Cluster: "test", Hosts: []string{"localhost"},
		Peer: func(*http.Request) *identify.Peer { return &identify.Peer{Loopback: true} },
	}})
	if w := requestAt(t, h, gateToken); w.Code != 401 || with.asked.Load() != 0 {
		t.Errorf("answer %d %s, the credential asked for %d times", w.Code, w.Body, with.asked.Load())
	}
}
