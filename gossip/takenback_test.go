package gossip

import (
	"testing"
	"time"
)

// TestWhatWasTakenBackIsForgottenByAll: nodes that heard of it on different days,
// because they started anew, do not hand it to each other for ever.
func TestWhatWasTakenBackIsForgottenByAll(t *testing.T) {
	const day = 24 * time.Hour
	decided := time.Now().Add(-6 * day)
	old := Intent{Kind: Drain, Target: upstreamA, By: "b", Counter: 7, At: decided}
	a, b := unstarted(t), unstarted(t)
	for _, n := range []*node{a, b} {
		if err := n.Import([]Intent{old}); err != nil {
			t.Fatal(err)
		}
		if got := n.Export(); len(got) != 1 {
			t.Fatalf("after six days it knows %v", got)
		}
	}
	a.expire(decided.Add(keepTakenBack - time.Second))
	if got := a.Export(); len(got) != 1 {
		t.Fatalf("a second before the week is over it knows %v", got)
	}
	a.expire(decided.Add(keepTakenBack))
	if got := a.Export(); len(got) != 0 {
		t.Fatalf("after a week it knows %v, which came here a moment ago", got)
	}

	// From a peer, and from a file, after the week.
	old.At = time.Now().Add(-keepTakenBack)
	a.merge(message{decisions: []decision{encodeIntent(old)}}, true, true)
	if got := a.Export(); len(got) != 0 || a.metric("ignored_total", ignoredExpired) != 1 {
		t.Errorf("a peer has brought back %v", got)
	}
	if err := a.Import([]Intent{old}); err != nil || len(a.Export()) != 0 {
		t.Errorf("a file has brought back %v, %v", a.Export(), err)
	}

	// Somebody may still know it: what is decided now must outrank it.
	i, err := a.Intend(Intent{Kind: Drain, Target: upstreamA, On: true})
	if err != nil || i.Counter <= old.Counter {
		t.Errorf("the next decision has counter %d, %v, want one above %d", i.Counter, err, old.Counter)
	}
}

// lost returns a node that has no state and is started by join, and a peer that
// knows an older decision and its being taken back.
func lost(t *testing.T, first, then Intent) (n, peer *node, join func()) {
	t.Helper()
	peer = start(t)
	for _, i := range []Intent{first, then} {
		if _, err := peer.Intend(i); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, 10*time.Millisecond) // Whatever is decided next is later by the clock.
	n = unstarted(t, peersOf(peer))
	return n, peer, func() {
		t.Helper()
		if err := n.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, "the peer", func() bool {
			n.Mesh.mu.Lock()
			defer n.Mesh.mu.Unlock()
			return n.joined
		})
	}
}

func (n *node) on(target string) bool {
	for _, i := range n.Export() {
		if i.Target == target {
			return i.On
		}
	}
	return false
}
