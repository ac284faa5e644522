package gossip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestEachNodeLearnsWhatTheOthersObserve(t *testing.T) {
	nodes := startMesh(t, 3)
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	said := Observation{Upstream: upstreamA, State: StateDown, Reason: "connection refused", Breaker: "open", Since: since}
	if err := nodes[0].Observe(said); err != nil {
		t.Fatal(err)
	}
	said.Node = nodes[0].name
	for _, n := range nodes[1:] {
		within(t, 3*time.Second, "the observation", func() bool { return len(n.toldObservations()) > 0 })
		if diff := cmp.Diff([]Observation{said}, n.toldObservations()); diff != "" {
			t.Errorf("the hook was told (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]Observation{said}, n.Snapshot().Observations); diff != "" {
			t.Errorf("the snapshot shows (-want +got):\n%s", diff)
		}
	}
	if told := nodes[0].toldObservations(); len(told) != 0 {
		t.Errorf("the observer was told its own observation: %v", told)
	}
}

func TestForgottenUpstreamsAreNotObservedAnyMore(t *testing.T) {
	nodes := startMesh(t, 2)
	nodes[0].see(upstreamA, StateReady)
	within(t, 3*time.Second, "the observation", func() bool { return len(nodes[1].observed(upstreamA)) == 1 })
	nodes[0].Forget(upstreamA)
	within(t, 3*time.Second, "its end", func() bool { return len(nodes[1].observed(upstreamA)) == 0 })
	nodes[0].see(upstreamA, StateDown)
	within(t, 3*time.Second, "a new one", func() bool { return len(nodes[1].observed(upstreamA)) == 1 })
}

func TestUpstreamsThatComeAndGoLeaveNothingBehind(t *testing.T) {
	n := unstarted(t)
	n.see(upstreamA, StateReady)
	for i := range 5 * maxForgotten {
		id := ClientID(string(rune('a' + i)))
		n.see(id, StateReady)
		n.Forget(id)
	}
	if facts := n.totals().facts; facts > maxForgotten+4 {
		t.Errorf("%d facts are kept of upstreams that are gone", facts)
	}
	if got := n.states(upstreamA); got[n.name] != StateReady {
		t.Errorf("the one that stayed is seen as %v", got)
	}
}

func TestObservationsOfUpstreamsThatAreNotConfiguredHereAreCountedAndPassedOn(t *testing.T) {
	ignorant := func(_ *Config, o *Options) { o.Knows = func(id string) bool { return id == upstreamA } }
	nodes := startMesh(t, 2, ignorant)
	nodes[0].see(upstreamB, StateDown)
	nodes[0].see(upstreamA, StateReady)
	n := nodes[1]
	within(t, 3*time.Second, "both observations", func() bool {
		return len(n.toldObservations()) > 0 && n.metric("ignored_total", ignoredUpstream) > 0
	})
	for _, o := range n.toldObservations() {
		if o.Upstream != upstreamA {
			t.Errorf("the hook was told of %v", o)
		}
	}
	s := n.Snapshot()
	if len(s.Observations) != 1 || s.Observations[0].Upstream != upstreamA {
		t.Errorf("the snapshot has %v", s.Observations)
	}
	// A third node, which knows it, learns it from the one that does not.
	knowing := start(t, peersOf(n))
	within(t, 3*time.Second, "the observation by way of another", func() bool { return len(knowing.observed(upstreamB)) == 1 })
}

func TestMajorityOfPeers(t *testing.T) {
	nodes := startMesh(t, 4)
	mine := nodes[3]
	for name, c := range map[string]struct {
		said []State
		want State
	}{
		"nobody has said anything":         {said: nil},
		"one peer is enough":               {said: []State{StateDown}, want: StateDown},
		"two that differ are no majority":  {said: []State{StateDown, StateReady}},
		"two of three":                     {said: []State{StateDown, StateReady, StateReady}, want: StateReady},
		"who is undecided does not count":  {said: []State{StateSuspect, StateSuspect, StateReady}, want: StateReady},
		"three of which no two are of one": {said: []State{StateDown, StateReady, StateDegraded}},
	} {
		t.Run(name, func(t *testing.T) {
			id := ClientID(name)
			mine.see(id, StateDown) // Its own word does not count.
			for i, state := range c.said {
				nodes[i].see(id, state)
			}
			within(t, 3*time.Second, "all observations", func() bool { return len(mine.observed(id)) == len(c.said)+1 })
			if state, ok := mine.Majority(id); state != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %v; want %q", state, ok, c.want)
			}
		})
	}
}

func TestIsolatedIsWhoAloneSeesAnUpstreamDown(t *testing.T) {
	nodes := startMesh(t, 3)
	nodes[0].see(upstreamA, StateDown)
	nodes[1].see(upstreamA, StateReady)
	within(t, 3*time.Second, "the observation", func() bool { return len(nodes[0].observed(upstreamA)) == 2 })
	if got := nodes[0].Isolated(); len(got) != 0 {
		t.Errorf("one of three sees it up, and %v counts as isolated", got)
	}
	nodes[2].see(upstreamA, StateDegraded)
	within(t, 3*time.Second, "isolation", func() bool { return len(nodes[0].Isolated()) == 1 })
	if got := nodes[1].Isolated(); len(got) != 0 {
		t.Errorf("a node that sees it up is isolated from %v", got)
	}
	if got := nodes[0].Snapshot().Isolated; !cmp.Equal(got, []string{upstreamA}) {
		t.Errorf("the snapshot says %v", got)
	}
}

func TestTwoNodesAreNoQuorum(t *testing.T) {
	nodes := startMesh(t, 2)
	nodes[0].see(upstreamA, StateDown)
	nodes[1].see(upstreamA, StateReady)
	within(t, 3*time.Second, "the observation", func() bool { return len(nodes[0].observed(upstreamA)) == 2 })
	if got := nodes[0].Isolated(); len(got) != 0 {
		t.Errorf("isolated from %v on the word of one peer", got)
	}
}

func TestParticularsAndLoadReachThePeers(t *testing.T) {
	nodes := startMesh(t, 2)
	want := Particulars{
		Version: "v1.2.3", ConfigHash: "abc", AdminAddress: "127.0.0.1:9801",
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Load: Load{InFlight: 1, Streams: 2},
	}
	nodes[0].Describe(want)
	nodes[1].Describe(Particulars{ConfigHash: "abc"})
	name := nodes[0].name
	within(t, 3*time.Second, "the particulars", func() bool { return nodes[1].peer(name).Version == want.Version })
	want.Load = Load{InFlight: 40}
	nodes[0].Describe(want)
	within(t, 10*time.Second, "the load", func() bool { return nodes[1].peer(name).Load == want.Load })
	if diff := cmp.Diff(want, nodes[1].peer(name).Particulars); diff != "" {
		t.Errorf("particulars (-want +got):\n%s", diff)
	}
	for _, p := range nodes[1].toldPeers() {
		if p.Version == "" && p.Load != (Load{}) {
			t.Errorf("the hook was told a load alone: %+v", p)
		}
	}
}

func TestANodeAloneQueuesNothing(t *testing.T) {
	n := start(t)
	for range 100 {
		n.see(upstreamA, StateDown)
		n.see(upstreamA, StateReady)
		if _, err := n.Intend(Intent{Kind: Drain, Target: upstreamA, On: true}); err != nil {
			t.Fatal(err)
		}
	}
	if queued := n.queue.len(); queued != 0 {
		t.Errorf("%d messages wait for nobody", queued)
	}
	peer := start(t, peersOf(n))
	within(t, 3*time.Second, "what it said alone", func() bool {
		return len(peer.observed(upstreamA)) == 1 && len(peer.holding()) == 1
	})
	if err := peer.Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the peer's end", func() bool { return n.totals().alive == 0 })
	n.see(upstreamB, StateDown)
	if queued := n.queue.len(); queued != 0 {
		t.Errorf("%d messages wait for nobody again", queued)
	}
}

func TestWhatIsNotFitToBePublished(t *testing.T) {
	n := unstarted(t)
	if err := n.Observe(Observation{Upstream: "https://10.0.0.1", State: StateReady}); err == nil {
		t.Error("an upstream that is no ID was observed")
	}
	if err := n.Observe(Observation{Upstream: upstreamA, State: "FINE"}); err == nil {
		t.Error("a state that is none was observed")
	}
	if _, err := n.Intend(Intent{Kind: "reboot", Target: upstreamA}); err == nil {
		t.Error("an intent of no kind was taken")
	}
	if _, err := n.Intend(Intent{Kind: Drain, Target: "prod"}); err == nil {
		t.Error("an intent without a target was taken")
	}
}

func TestSnapshotOfTwoNodes(t *testing.T) {
	nodes := startMesh(t, 2)
	within(t, 5*time.Second, "a ping each way", func() bool {
		return nodes[0].peer(nodes[1].name).UDP == UDPOK && nodes[0].peer(nodes[1].name).KeyIDs != nil &&
			len(nodes[0].peer(nodes[1].name).KeyIDs) == 1
	})
	want := Snapshot{
		Node: nodes[0].name, Address: nodes[0].Addr().String(), KeyIDs: nodes[1].Snapshot().KeyIDs,
		Isolated: []string{}, Observations: []Observation{},
		Peers: []Peer{{Name: nodes[1].name, Address: nodes[1].Addr().String(), State: PeerAlive, UDP: UDPOK, KeyIDs: nodes[0].Snapshot().KeyIDs}},
	}
	if diff := cmp.Diff(want, nodes[0].Snapshot(), cmpopts.IgnoreFields(Peer{}, "LastHeard")); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

func TestPropagationIsMeasured(t *testing.T) {
	nodes := startMesh(t, 3)
	within(t, 10*time.Second, "a beacon that came back", func() bool { return nodes[0].metric("propagation_seconds", "") > 0 })
}

func TestMetricsAreWellNamedAndThereFromTheStart(t *testing.T) {
	n := unstarted(t)
	problems, err := testutil.GatherAndLint(n.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for _, reason := range ignoredReasons {
		if got := testutil.ToFloat64(n.metrics.ignored.WithLabelValues(reason)); got != 0 {
			t.Errorf("%s = %v", reason, got)
		}
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	if families, err := n.registry.Gather(); err != nil || len(families) > 0 {
		t.Errorf("after Stop, %d metrics are left, %v", len(families), err)
	}
}

func TestOnlySoManyUpstreamsAreObserved(t *testing.T) {
	n := unstarted(t)
	for i := range maxEntries + 50 {
		n.see(ClientID(string(rune(i+1000))), StateReady)
	}
	if n.totals().facts > maxEntries || n.metric("ignored_total", ignoredFull) == 0 {
		t.Errorf("%d facts, and %v were not taken", n.totals().facts, n.metric("ignored_total", ignoredFull))
	}
	if raw, complete := n.replica.message(n.name, n.counts); !complete || len(raw) > maxState {
		t.Errorf("the map has %d bytes, all of it: %v", len(raw), complete)
	}
}

func TestANodeDoesNotJoinItself(t *testing.T) {
	n := start(t, func(c *Config, _ *Options) { c.BindAddress, c.AdvertiseAddress = "0.0.0.0:0", newIP().String()+":7" })
	port := n.bound.Port()
	for address, want := range map[string]bool{
		fmt.Sprintf("127.0.0.1:%d", port):   true,
		fmt.Sprintf("127.0.0.1:%d", port+1): false,
		fmt.Sprintf("192.0.2.1:%d", port):   false,
	} {
		if got := n.isSelf(netip.MustParseAddrPort(address)); got != want {
			t.Errorf("%s is this node: %v, want %v", address, got, want)
		}
	}
	if missing := n.missing([]netip.AddrPort{n.Addr(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), netip.MustParseAddrPort("192.0.2.1:1")}, true, nil); len(missing) != 1 {
		t.Errorf("missing are %v", missing)
	}
}

// News that nobody passes on is counted, since it shows that packets are lost.
func TestLostNewsIsCounted(t *testing.T) {
	n := unstarted(t)
	n.peers["there"] = &peer{name: "there", state: PeerAlive}
	n.alive.Store(1)
	n.see(upstreamA, StateDown)
	n.expire(time.Now().Add(unheardAfter - time.Second))
	if got := n.metric("propagation_lost_total", ""); got != 0 {
		t.Errorf("%v counted too early", got)
	}
	n.expire(time.Now().Add(unheardAfter))
	n.expire(time.Now().Add(2 * unheardAfter))
	if got := n.metric("propagation_lost_total", ""); got != 1 {
		t.Errorf("%v counted, want 1", got)
	}
}
