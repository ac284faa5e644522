package gossip

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestANodeThatLeavesHasLeftAndOneThatDiesHasFailed(t *testing.T) {
	nodes := startMesh(t, 3)
	name := nodes[1].name
	nodes[1].see(upstreamA, StateReady)
	within(t, 3*time.Second, "its observation", func() bool { return len(nodes[0].observed(upstreamA)) == 1 })
	left := time.Now()
	if err := nodes[1].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := nodes[1].Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "its farewell", func() bool { return nodes[0].peer(name).State == PeerLeft && nodes[2].peer(name).State == PeerLeft })
	t.Logf("left within %v", time.Since(left))
	if got := nodes[0].observed(upstreamA); len(got) != 0 {
		t.Errorf("what it observed still counts: %v", got)
	}
	if nodes[0].metric("failed_peers", "") != 0 || nodes[0].metric("peer_events_total", eventLeft) != 1 {
		t.Error("metrics say that it failed")
	}

	name = nodes[2].name
	if err := nodes[2].Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "its death", func() bool { return nodes[0].peer(name).State == PeerFailed })
	if nodes[0].metric("failed_peers", "") != 1 {
		t.Error("the metric of failed peers does not say so")
	}
	events := nodes[0].toldPeers()
	if last := events[len(events)-1]; last.Name != name || last.State != PeerFailed {
		t.Errorf("the hook was told %+v last", last)
	}
}

func TestLeavingAloneOrTwiceOrUnstartedIsNoError(t *testing.T) {
	n := unstarted(t)
	if err := n.Leave(t.Context()); err != nil {
		t.Errorf("unstarted: %v", err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err == nil {
		t.Error("a mesh that runs was started")
	}
	for range 2 {
		if err := n.Leave(t.Context()); err != nil {
			t.Errorf("alone: %v", err)
		}
	}
	for range 2 {
		if err := n.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	if err := n.Leave(t.Context()); err != nil {
		t.Errorf("after Stop: %v", err)
	}
	if _, err := n.Intend(Intent{Kind: Drain, Target: upstreamA, On: true}); err != nil {
		t.Errorf("a decision after Stop, to be written down: %v", err)
	}
}

func TestAPeerThatIsGoneIsForgottenAndItsFactsTooInTime(t *testing.T) {
	brief := func(_ *Config, o *Options) {
		o.Profile.ForgetAfter = 2 * time.Second
		o.Profile.FactTTL = 500 * time.Millisecond
	}
	nodes := startMesh(t, 2, brief)
	name := nodes[1].name
	nodes[1].see(upstreamA, StateReady)
	within(t, 3*time.Second, "its observation", func() bool { return len(nodes[0].observed(upstreamA)) == 1 })
	if err := nodes[1].Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "its death", func() bool { return nodes[0].peer(name).State == PeerFailed })
	within(t, 3*time.Second, "the end of its facts", func() bool { return nodes[0].totals().facts < 3 })
	within(t, 5*time.Second, "its being forgotten", func() bool { return nodes[0].peer(name).Name == "" })
}

// A restarted node says other things than before, and its peers believe it even
// if its clock went back meanwhile.
func TestARestartedNodeIsBelieved(t *testing.T) {
	for name, epochs := range map[string][2]uint64{
		"its clock went on":   {1000, 2000},
		"its clock went back": {2000, 1000},
		"its clock stood":     {1000, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			witness := start(t)
			epoch := func(e uint64) setting { return func(_ *Config, o *Options) { o.epoch = e } }
			first := start(t, named("phoenix"), epoch(epochs[0]), peersOf(witness))
			first.see(upstreamA, StateDown)
			first.see(upstreamA, StateReady)
			first.see(upstreamA, StateDown)
			first.see(upstreamB, StateDown)
			within(t, 3*time.Second, "its first words", func() bool {
				return len(witness.observed(upstreamB)) == 1 && witness.states(upstreamA)["phoenix"] == StateDown
			})
			address := first.Addr().String()
			if err := first.Stop(); err != nil {
				t.Fatal(err)
			}
			second := start(t, named("phoenix"), at(address), epoch(epochs[1]), peersOf(witness))
			second.see(upstreamA, StateReady)
			within(t, 10*time.Second, "its new word, and nothing of the old", func() bool {
				return witness.states(upstreamA)["phoenix"] == StateReady && len(witness.observed(upstreamB)) == 0
			})
		})
	}
}

func TestTwoNodesOfOneNameAreToldOf(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	logged := func(_ *Config, o *Options) { o.Log = zap.New(core) }
	witness := start(t, logged)
	first := start(t, named("twin"), peersOf(witness))
	within(t, 3*time.Second, "the first twin", func() bool { return witness.peer("twin").State == PeerAlive })
	second := start(t, named("twin"), peersOf(witness))
	within(t, 5*time.Second, "the conflict", func() bool { return witness.metric("name_conflicts_total", "") > 0 })
	if got := witness.peer("twin"); got.Address != first.Addr().String() || got.Rival != second.Addr().String() {
		t.Errorf("the witness knows %s with rival %s, want %v and %v", got.Address, got.Rival, first.Addr(), second.Addr())
	}
	within(t, 5*time.Second, "the twin's own knowledge of it", func() bool { return second.Snapshot().Rival != "" })
	entries := logs.FilterMessageSnippet("two nodes have one name").All()
	if len(entries) != 1 || entries[0].Level != zap.ErrorLevel || entries[0].ContextMap()["name"] != "twin" {
		t.Errorf("logged %v", entries)
	}
	// They do not drive each other to ever more messages.
	for _, n := range []*node{first, second} {
		n.see(upstreamA, StateDown)
	}
	before := first.metric("messages_sent_total", sentUpdate)
	wait(t, time.Second)
	if sent := first.metric("messages_sent_total", sentUpdate) - before; sent > 200 {
		t.Errorf("%v messages in a second", sent)
	}
}

// wait is for what must not happen meanwhile.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

func TestANameIsFreeAtOnceAfterLeavingAndSoonAfterADeath(t *testing.T) {
	witness := start(t)
	first := start(t, named("mover"), peersOf(witness))
	within(t, 3*time.Second, "the node", func() bool { return witness.peer("mover").State == PeerAlive })
	if err := first.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	second := start(t, named("mover"), peersOf(witness))
	within(t, 2*time.Second, "it at its new address", func() bool {
		return witness.peer("mover").Address == second.Addr().String() && witness.peer("mover").State == PeerAlive
	})
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	third := start(t, named("mover"), peersOf(witness))
	within(t, 10*time.Second, "it at its third address", func() bool {
		return witness.peer("mover").Address == third.Addr().String() && witness.peer("mover").State == PeerAlive
	})
}

func TestHooksMayCallTheMesh(t *testing.T) {
	var mesh *Mesh
	called := make(chan Snapshot, 1)
	n := unstarted(t, func(_ *Config, o *Options) {
		o.OnPeer = func(Peer) {
			_, _ = mesh.Intend(Intent{Kind: Drain, Target: upstreamA, On: true})
			select {
			case called <- mesh.Snapshot():
			default:
			}
		}
	})
	mesh = n.Mesh
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	peer := start(t, peersOf(n))
	within(t, 3*time.Second, "the hook's intent", func() bool { return len(peer.toldIntents()) > 0 })
	if s := <-called; len(s.Peers) != 1 {
		t.Errorf("in the hook there were %d peers", len(s.Peers))
	}
}
