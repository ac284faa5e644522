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
