package proxy

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
)

// TestWhatIsRefusedCountsForTheRate has a client ask for what it may not have,
// again and again: beyond its burst the answer is 429, before anything else is
// looked at.
func TestWhatIsRefusedCountsForTheRate(t *testing.T) {
	uid := uint32(1001)
	for name, c := range map[string]struct {
		method, path string
		edit         func(*http.Request)
		first        int
	}{
		"an unknown cluster":        {http.MethodGet, "/clusters/none/version", nil, 403},
		"a path that is no request": {http.MethodGet, "/api/v1/watch", nil, 400},
		"impersonation":             {http.MethodGet, "/version", func(r *http.Request) { r.Header.Set("Impersonate-User", "root") }, 403},
		"no credential":             {http.MethodGet, "/version", nil, 503},
		"a token":                   {http.MethodPost, CredentialPath, func(r *http.Request) { r.Header.Del("Authorization") }, 200},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				now      atomic.Pointer[Access]
				recorder noted
				with     withheld
			)
			now.Store(accessFor(t, &with, func(a *Access, _ *Grant) {
				directory, err := identify.NewDirectory([]identify.Client{{Name: "alice", Match: []identify.Match{
					tokenMatch(gateToken), {UID: &uid},
				}}}, identify.Options{})
				if err != nil {
					t.Fatal(err)
				}
				a.Directory = directory
				a.Listeners["shared"] = identify.NewAccepted([]identify.Method{identify.Bearer, identify.UID})
				a.Clients["alice"].Limiter = limit.New(limit.Config{RequestsPerSecond: 0.001, Burst: 1})
			}))
			h := NewHandler(Options{Listener: "shared", Registry: &Registry{}, Recorder: &recorder, Shared: &SharedOptions{
				Access: &now, Cluster: "test", Hosts: []string{"localhost"},
				Peer: func(*http.Request) *identify.Peer { return &identify.Peer{Unix: true, UIDKnown: true, UID: uid} },
				Mint: func(string, uint32) (string, time.Time) { return "minted", time.Now() },
			}})
			for n := range 20 {
				r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
				r.Host = "localhost"
				r.Header.Set("Authorization", "Bearer "+gateToken)
				if c.edit != nil {
					c.edit(r)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				want := http.StatusTooManyRequests
				if n == 0 {
					want = c.first
				}
				if w.Code != want {
					t.Fatalf("request %d: answer %d %s, want %d", n, w.Code, w.Body, want)
				}
			}
			if n := now.Load().Clients["alice"].Limiter.Usage().InFlight; n != 0 {
				t.Errorf("%d requests count as under way", n)
			}
		})
	}
}
