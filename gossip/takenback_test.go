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

func TestARevocationOfANodeThatHasLostItsStateHolds(t *testing.T) {
	alice := ClientID("alice")
	revoke, lift := Intent{Kind: Revoke, Target: alice, On: true, Reason: "stolen"}, Intent{Kind: Revoke, Target: alice}
	n, peer, join := lost(t, revoke, lift)
	if _, err := n.Intend(revoke); err != nil {
		t.Fatal(err)
	}
	join()
	within(t, 3*time.Second, "the revocation at the peer", func() bool { return peer.on(alice) })
	stays(t, time.Second, "revoked on both", func() bool { return n.on(alice) && peer.on(alice) })
	for _, i := range n.toldIntents() {
		if !i.On {
			t.Errorf("the node was told that it is lifted: %+v", i)
		}
	}

	// Of what is decided later, with everything known, the last one holds.
	if _, err := peer.Intend(lift); err != nil {
		t.Fatal(err)
	}
	within(t, 3*time.Second, "the lift", func() bool { return !n.on(alice) })
	stays(t, time.Second, "lifted on both", func() bool { return !n.on(alice) && !peer.on(alice) })
}

func TestOfEarlyDecisionsTheLaterOneHolds(t *testing.T) {
	drain, undrain := Intent{Kind: Drain, Target: upstreamA, On: true}, Intent{Kind: Drain, Target: upstreamA}
	t.Run("that of the node that has lost its state", func(t *testing.T) {
		n, peer, join := lost(t, drain, undrain)
		if _, err := n.Intend(drain); err != nil {
			t.Fatal(err)
		}
		join()
		within(t, 3*time.Second, "the drain at the peer", func() bool { return peer.on(upstreamA) })
		stays(t, time.Second, "drained on both", func() bool { return n.on(upstreamA) && peer.on(upstreamA) })
	})
	t.Run("that of its peer", func(t *testing.T) {
		n, peer, join := lost(t, undrain, undrain)
		if _, err := n.Intend(undrain); err != nil {
			t.Fatal(err)
		}
		wait(t, 10*time.Millisecond)
		if _, err := peer.Intend(drain); err != nil {
			t.Fatal(err)
		}
		join()
		within(t, 3*time.Second, "the drain at the node", func() bool { return n.on(upstreamA) })
		stays(t, time.Second, "drained on both", func() bool { return n.on(upstreamA) && peer.on(upstreamA) })
	})
	t.Run("and a lift before a revocation does not", func(t *testing.T) {
		bob := ClientID("bob")
		n, peer, join := lost(t, Intent{Kind: Revoke, Target: bob}, Intent{Kind: Revoke, Target: bob})
		if _, err := n.Intend(Intent{Kind: Revoke, Target: bob}); err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Intend(Intent{Kind: Revoke, Target: bob, On: true}); err != nil {
			t.Fatal(err)
		}
		join()
		within(t, 3*time.Second, "the revocation at the node", func() bool { return n.on(bob) })
		stays(t, time.Second, "revoked on both", func() bool { return n.on(bob) && peer.on(bob) })
	})
}
