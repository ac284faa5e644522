package daemon_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/gossip"
)

// TestIsolationIsToldWithAllThatItIsAbout: to a person in the status, as an
// event and in the log, and when it is over.
func TestIsolationIsToldWithAllThatItIsAbout(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	a := h.start("a", "alice")
	for _, name := range []string{"b", "c"} {
		p := h.peer(name)
		for _, s := range h.servers {
			h.says(p, s, gossip.StateReady)
		}
	}
	h.eventually("both peers", a, sees(2))
	for _, s := range h.servers {
		s.Down()
	}
	names := func(text string) bool {
		return strings.Contains(text, h.servers[0].Addr+" of cluster of-a") && strings.Contains(text, h.servers[1].Addr+" of cluster of-a")
	}
	h.eventually("a status that names both", a, func(s admin.Status) bool { return s.Isolated && names(s.IsolatedReason) })
	event := func(with bool) func(admin.Status) bool {
		return func(s admin.Status) bool {
			for _, e := range s.Events {
				if e.Kind == admin.EventIsolated {
					return names(e.Text) == with // the latest is the first
				}
			}
			return false
		}
	}
	h.eventually("an event that names both", a, event(true))
	lines := a.Logs.FilterMessageSnippet("this host seems cut off").All()
	if len(lines) == 0 || !names(fmt.Sprint(lines[len(lines)-1].ContextMap()["upstreams"])) {
		t.Errorf("the log says %v", lines)
	}
	for _, s := range h.servers {
		s.Up()
	}
	h.eventually("the end of it in the status", a, func(s admin.Status) bool { return !s.Isolated })
	h.eventually("an event of the end", a, func(s admin.Status) bool {
		return event(false)(s) && a.Logs.FilterMessageSnippet("not seem cut off any more").Len() == 1
	})
}

// TestTheRelayRunsWithoutGossipThatCannot: that somebody has the port is shown,
// and keeps nobody from the cluster.
func TestTheRelayRunsWithoutGossipThatCannot(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer := h.peer("peer")
	a := h.startAs("a", func(c *config.Configuration) { c.Gossip.BindAddress = taken.Addr().String() }, "alice")
	if got := a.code(pods, "token-of-alice"); got != http.StatusOK {
		t.Errorf("HTTP %d, want 200", got)
	}
	if s := a.Daemon.Status(); !strings.Contains(s.GossipError, taken.Addr().String()) {
		t.Errorf("the status says %q", s.GossipError)
	}
	if err := a.Daemon.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	h.eventually("the peer, once the port is free", a, func(s admin.Status) bool { return sees(1)(s) && s.GossipError == "" })
	if got := peer.Snapshot().Peers; len(got) != 1 {
		t.Errorf("the peer sees %v", got)
	}
}
