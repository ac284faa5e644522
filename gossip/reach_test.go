package gossip

import (
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestBlockedUDPIsSaidPlainly(t *testing.T) {
	for name, count := range map[string]int{
		"between two nodes":                   2, // memberlist pings by TCP
		"between two of three, by way of one": 3, // memberlist pings by the third, and says nothing
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			w := newWires()
			nodes := startMesh(t, count, wiredBy(w), func(_ *Config, o *Options) { o.Log = zap.New(core) })
			a, b := nodes[0], nodes[1]
			within(t, 5*time.Second, "pings", func() bool { return a.peer(b.name).UDP == UDPOK && b.peer(a.name).UDP == UDPOK })

			w.set("udp", nodes[:1], nodes[1:2])
			within(t, 10*time.Second, "its being seen", func() bool {
				return a.peer(b.name).UDP == UDPBlocked && b.peer(a.name).UDP == UDPBlocked
			})
			if a.totals().alive != count-1 || a.metric("udp_blocked_peers", "") != 1 {
				t.Errorf("%d peers, %v blocked", a.totals().alive, a.metric("udp_blocked_peers", ""))
			}
			said := logs.FilterMessageSnippet("UDP to the peer is blocked").FilterField(zap.String("peer", b.name))
			if said.Len() != 1 {
				t.Errorf("said %d times in the log", said.Len())
			}
			// The check itself is no noise at the other end.
			if got := b.metric("ignored_total", ""); got != 0 {
				t.Errorf("the peer ignored %v things", got)
			}
			// An intent comes through all the same, at once.
			if _, err := a.Intend(Intent{Kind: Drain, Target: upstreamA, On: true}); err != nil {
				t.Fatal(err)
			}
			within(t, time.Second, "the intent", func() bool { return len(b.toldIntents()) == 1 })

			w.set("", nodes[:1], nodes[1:2])
			within(t, 10*time.Second, "the end of it", func() bool { return a.peer(b.name).UDP == UDPOK })
			told := false
			for _, p := range a.toldPeers() {
				told = told || p.UDP == UDPBlocked
			}
			if !told {
				t.Error("the hook was not told")
			}
		})
	}
}

func TestAPeerThatNothingReachesIsNotCalledBlocked(t *testing.T) {
	w := newWires()
	nodes := startMesh(t, 3, wiredBy(w))
	a, b := nodes[0], nodes[1]
	within(t, 5*time.Second, "a ping", func() bool { return a.peer(b.name).UDP == UDPOK })
	// The third one still reaches both, so that both stay members.
	w.set("all", nodes[:1], nodes[1:2])
	within(t, 10*time.Second, "its being seen", func() bool { return a.peer(b.name).UDP == UDPUnknown && a.peer(b.name).State == PeerAlive })
	if a.metric("udp_blocked_peers", "") != 0 {
		t.Error("it counts as blocked")
	}
}
