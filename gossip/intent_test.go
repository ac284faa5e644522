package gossip

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnIntentHoldsOnAllNodesWithinASecond(t *testing.T) {
	nodes := startMesh(t, 5)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	started := time.Now()
	want, err := nodes[2].Intend(Intent{Kind: Revoke, Target: ClientID("alice"), On: true, Until: until, Reason: "left the team"})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		if i == 2 {
			continue
		}
		within(t, time.Second, "the revocation", func() bool { return len(n.toldIntents()) == 1 })
		if diff := cmp.Diff([]Intent{want}, n.toldIntents()); diff != "" {
			t.Errorf("%s was told (-want +got):\n%s", n.name, diff)
		}
		if diff := cmp.Diff([]Intent{want}, n.holding()); diff != "" {
			t.Errorf("the snapshot of %s (-want +got):\n%s", n.name, diff)
		}
	}
	t.Logf("all four others were told after %v", time.Since(started))
	if want.By != nodes[2].name || want.Counter != 1 || want.At.IsZero() || want.Reason == "" {
		t.Errorf("the intent is %+v", want)
	}
	if told := nodes[2].toldIntents(); len(told) != 0 {
		t.Errorf("the node of the decision was told of it: %v", told)
	}
}

func TestTheLastDecisionWinsWhereverItIsMade(t *testing.T) {
	nodes := startMesh(t, 3)
	decide := func(n *node, on bool) Intent {
		t.Helper()
		i, err := n.Intend(Intent{Kind: Drain, Target: upstreamA, On: on})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range nodes {
			within(t, 2*time.Second, "the decision", func() bool {
				all := other.Export()
				return len(all) == 1 && all[0].Counter == i.Counter && all[0].On == on
			})
		}
		return i
	}
	decide(nodes[0], true)
	decide(nodes[1], false)
	last := decide(nodes[2], true)
	if last.Counter != 3 {
		t.Errorf("the third decision has counter %d", last.Counter)
	}
	decide(nodes[0], false)
	if got := nodes[1].holding(); len(got) != 0 {
		t.Errorf("taken back, and shown as holding: %v", got)
	}
}

// Two operators decide at once, on nodes that do not hear each other: after
// that all agree on one of both.
func TestConcurrentDecisionsConverge(t *testing.T) {
	w := newWires()
	nodes := startMesh(t, 2, wiredBy(w))
	w.set("all", nodes[:1], nodes[1:])
	for i, n := range nodes {
		if _, err := n.Intend(Intent{Kind: Drain, Target: upstreamA, On: i == 0}); err != nil {
			t.Fatal(err)
		}
	}
	w.set("", nodes[:1], nodes[1:])
	within(t, 20*time.Second, "agreement", func() bool { return cmp.Equal(nodes[0].Export(), nodes[1].Export()) })
	if won := nodes[0].Export()[0]; won.By != max(nodes[0].name, nodes[1].name) {
		t.Errorf("the decision of %s won, and the greater name does", won.By)
	}
}

func TestDecisionsSurviveTheRestartOfEachNodeAndOfAll(t *testing.T) {
	nodes := startMesh(t, 2)
	if _, err := nodes[0].Intend(Intent{Kind: Revoke, Target: ClientID("alice"), On: true}); err != nil {
		t.Fatal(err)
	}
	within(t, 2*time.Second, "the revocation", func() bool { return len(nodes[1].toldIntents()) == 1 })
	if err := nodes[0].Stop(); err != nil {
		t.Fatal(err)
	}
	// The other lives: who comes back learns it from there.
	again := start(t, peersOf(nodes[1]))
	within(t, 5*time.Second, "the revocation again", func() bool { return len(again.toldIntents()) == 1 })

	// All go. What one of them wrote down is there when they come back.
	kept := again.Export()
	for _, n := range []*node{nodes[1], again} {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	first := unstarted(t)
	if err := first.Import(kept); err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := start(t, peersOf(first))
	within(t, 5*time.Second, "the revocation from a file", func() bool { return len(second.toldIntents()) == 1 })
	if told := first.toldIntents(); len(told) != 0 {
		t.Errorf("who imported was told: %v", told)
	}
	if i, err := second.Intend(Intent{Kind: Revoke, Target: ClientID("alice")}); err != nil || i.Counter != kept[0].Counter+1 {
		t.Errorf("a decision after the import is %+v, %v", i, err)
	}
}

func TestAnImportedDecisionDoesNotOutrankALaterOne(t *testing.T) {
	n := unstarted(t)
	on, err := n.Intend(Intent{Kind: Drain, Target: upstreamA, On: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Intend(Intent{Kind: Drain, Target: upstreamA}); err != nil {
		t.Fatal(err)
	}
	if err := n.Import([]Intent{on}); err != nil {
		t.Fatal(err)
	}
	if all := n.Export(); len(all) != 1 || all[0].On {
		t.Errorf("the older decision holds: %v", all)
	}
}

func TestImportRefusesWhatIsNoDecision(t *testing.T) {
	n := unstarted(t)
	good := Intent{Kind: Drain, Target: upstreamA, On: true, By: "a", Counter: 1}
	for name, spoil := range map[string]func(*Intent){
		"kind":    func(i *Intent) { i.Kind = "reboot" },
		"target":  func(i *Intent) { i.Target = "prod" },
		"author":  func(i *Intent) { i.By = "" },
		"counter": func(i *Intent) { i.Counter = 0 },
		"order":   func(i *Intent) { i.Counter = maxSequence },
	} {
		bad := good
		spoil(&bad)
		if err := n.Import([]Intent{bad}); err == nil {
			t.Errorf("an intent with a bad %s was taken", name)
		}
	}
	if err := n.Import([]Intent{{Kind: "x"}, good}); err == nil || len(n.Export()) != 1 {
		t.Errorf("one bad intent beside a good one: %v, %v", err, n.Export())
	}
}

func TestDecisionsThatHaveLongEndedAreNotTaken(t *testing.T) {
	n := unstarted(t)
	ended := Intent{Kind: Revoke, Target: ClientID("bob"), On: true, By: "x", Counter: 7}
	for name, c := range map[string]struct {
		until time.Time
		want  int
	}{
		"ended a minute ago by this clock": {time.Now().Add(-time.Minute), 1},
		"ended two days ago":               {time.Now().Add(-48 * time.Hour), 0},
	} {
		t.Run(name, func(t *testing.T) {
			ended.Target = ClientID(name)
			ended.Until = c.until
			before := len(n.Export())
			n.merge(message{decisions: []decision{encodeIntent(ended)}}, true, true)
			if got := len(n.Export()) - before; got != c.want {
				t.Errorf("%d were taken, want %d", got, c.want)
			}
			if holds := n.holding(); len(holds) != 0 {
				t.Errorf("it is shown as holding: %v", holds)
			}
		})
	}
}

func TestThereIsRoomForNewDecisionsAsLongAsOldOnesAreOver(t *testing.T) {
	n := unstarted(t)
	now := time.Now()
	for i := range maxDecisions {
		d := encodeIntent(Intent{Kind: Drain, Target: ClientID(string(rune(i + 1000))), On: i != 5, By: "a", Counter: uint64(i + 1)})
		if n.replica.mergeDecision(d, now) != mergedNew {
			t.Fatalf("decision %d was not taken", i)
		}
	}
	if _, err := n.Intend(Intent{Kind: Drain, Target: upstreamA, On: true}); err != nil {
		t.Errorf("the one that was taken back made no room: %v", err)
	}
	if _, err := n.Intend(Intent{Kind: Drain, Target: upstreamB, On: true}); err == nil {
		t.Error("more decisions hold than there is room for")
	}
	if _, err := n.Intend(Intent{Kind: Drain, Target: upstreamA}); err != nil {
		t.Errorf("taking one back needs no room: %v", err)
	}
}
