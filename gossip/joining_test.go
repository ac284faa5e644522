package gossip

import (
	"testing"
	"time"
)

// What peers had decided is known when OnJoin is called, and was told.
func TestOnJoinComesAfterTheDecisionsOfTheFirstMap(t *testing.T) {
	first := start(t)
	if _, err := first.Intend(Intent{Kind: Revoke, Target: ClientID("alice"), On: true}); err != nil {
		t.Fatal(err)
	}
	type joined struct{ told, known int }
	calls := make(chan joined, 8)
	var n *node
	n = unstarted(t, peersOf(first), func(_ *Config, o *Options) {
		o.OnJoin = func() { calls <- joined{len(n.toldIntents()), len(n.Export())} }
	})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the join", func() bool { return len(calls) > 0 })
	if got := <-calls; got != (joined{1, 1}) {
		t.Errorf("on joining %+v, want one decision", got)
	}
	third := start(t, peersOf(n))
	within(t, 5*time.Second, "another peer", func() bool { return whole([]*node{first, n, third}) })
	stays(t, 300*time.Millisecond, "it was called once", func() bool { return len(calls) == 0 })
}

func TestANodeThatAnnouncesToLeaveIsStillThere(t *testing.T) {
	nodes := startMesh(t, 2)
	leaving := nodes[1]
	leaving.AnnounceLeave()
	within(t, time.Second, "the announcement", func() bool { return nodes[0].peer(leaving.name).Leaving })
	if p := nodes[0].peer(leaving.name); p.State != PeerAlive {
		t.Errorf("it is %s", p.State)
	}
	events := nodes[0].toldPeers()
	if last := events[len(events)-1]; last.Name != leaving.name || !last.Leaving {
		t.Errorf("the hook was told %+v last", last)
	}
	if _, err := nodes[0].Intend(Intent{Kind: Revoke, Target: ClientID("alice"), On: true}); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "a decision of meanwhile", func() bool { return len(leaving.toldIntents()) == 1 })
	if err := leaving.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := leaving.Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "its farewell", func() bool { return nodes[0].peer(leaving.name).State == PeerLeft })
	if nodes[0].metric("peer_events_total", eventFailed) != 0 {
		t.Error("it was taken for failed")
	}
}
