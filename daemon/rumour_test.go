package daemon_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/gossip"
)

// startAs starts a daemon with a configuration that is changed first.
func (h *hosts) startAs(name string, change func(*config.Configuration), clients ...string) *relay {
	h.t.Helper()
	cfg := h.configuration(name, clients...)
	change(cfg)
	d, err := daemon.New(cfg, daemon.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	r := &relay{t: h.t, Servers: h.servers, Daemon: d, Client: http.DefaultClient}
	h.t.Cleanup(func() { h.stop(r) })
	if err := d.Start(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	r.URL = "http://" + d.Addr("proxy").String()
	return r
}

// TestOnePeersWordRefusesNoTraffic: a host that starts while its only peer has
// lost all API servers serves from the first request on, and prefers what the
// peer can reach.
func TestOnePeersWordRefusesNoTraffic(t *testing.T) {
	t.Parallel()
	for name, states := range map[string][2]gossip.State{
		"everything is DOWN":          {gossip.StateDown, gossip.StateDown},
		"everything is MISCONFIGURED": {gossip.StateMisconfigured, gossip.StateMisconfigured},
		"one is DOWN":                 {gossip.StateDown, gossip.StateReady},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHosts(t, 2)
			probed := make(chan struct{}) // no probe is answered before
			for _, s := range h.servers {
				s.Handle("GET /readyz", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-probed:
					case <-r.Context().Done():
					}
				}))
			}
			defer close(probed)
			sick := h.peer("sick")
			for i, s := range h.servers {
				h.says(sick, s, states[i])
			}
			// What it says last is heard last.
			if _, err := sick.Intend(gossip.Intent{Kind: gossip.Revoke, Target: gossip.ClientID("bob"), On: true}); err != nil {
				t.Fatal(err)
			}
			b := h.startAs("b", func(c *config.Configuration) { c.Clusters[0].HealthCheck.Timeout = time.Minute }, "alice", "bob")
			h.eventually("all that the peer says", b, revoked("bob", true))
			for range 20 {
				if got := b.code(pods, "token-of-alice"); got != http.StatusOK {
					t.Fatalf("HTTP %d, want 200", got)
				}
			}
			if n := len(h.servers[0].Requests("GET " + pods)); states[1] == gossip.StateReady && n > 0 {
				t.Errorf("%d requests went to the server that the peer sees DOWN, with one that it sees READY", n)
			}
		})
	}
}

// TestPeersUPEndsABackOffEarly: a server that came back is used as soon as a
// peer has seen that, not when the next probe is due.
func TestPeersUPEndsABackOffEarly(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	peer := h.peer("peer")
	b := h.start("b", "alice")
	h.eventually("the peer", b, sees(1))
	is := func(state string) func(admin.Status) bool {
		return func(s admin.Status) bool { return s.Clusters[0].Upstreams[1].State == state }
	}
	h.eventually("READY", b, is("READY"))
	h.servers[1].Down()
	h.eventually("DOWN", b, is("DOWN"))
	probe := func() time.Time { return b.Daemon.Status().Clusters[0].Upstreams[1].LastProbe }
	// The pauses grow to two seconds at most; one of the longest has
	// just begun.
	last, gap := probe(), time.Duration(0)
	h.eventually("a long back-off", b, func(admin.Status) bool {
		if now := probe(); now.After(last) {
			last, gap = now, now.Sub(last)
		}
		return gap > 1500*time.Millisecond
	})
	h.servers[1].Up()
	came := time.Now()
	h.says(peer, h.servers[1], gossip.StateReady)
	h.eventually("a probe", b, func(admin.Status) bool { return probe().After(last) })
	if took := probe().Sub(came); took > gap/2 {
		t.Errorf("probed %v after the peer saw it, with a back-off of at least %v", took, gap)
	}
	h.eventually("READY again", b, is("READY"))
}
