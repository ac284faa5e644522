package balancer

import (
	"testing"
	"testing/synctest"
	"time"
)

// The tolerances are more than six standard deviations wide.

func spread(t *testing.T, p *Pool[string], n int) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range n {
		counts[picked(t, p, Request{Key: "k", Kind: QuorumRead})]++
	}
	return counts
}

func TestRandomSpreads(t *testing.T) {
	p := newTestPool(PolicyRandom, Ready, Ready, Ready, Suspect)
	near(t, "random", spread(t, p, 30_000), map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3, "d": 0}, 0.02)
}

func TestRoundRobinTakesTurns(t *testing.T) {
	p := newTestPool(PolicyRoundRobin, Ready, Ready, Ready, Suspect)
	equal(t, "round robin", spread(t, p, 300), map[string]int{"a": 100, "b": 100, "c": 100})
}

func TestLeastRequestLevels(t *testing.T) {
	p := newTestPool(PolicyLeastRequest, Ready, Ready, Ready)
	hold(t, p, 100, Request{Kind: Write, Tried: []string{"b", "c"}})
	hold(t, p, 100, Request{Kind: Watch, Tried: []string{"a", "b"}})
	hold(t, p, 200, Request{Kind: CachedRead})
	hold(t, p, 200, Request{Kind: Upgrade})
	for _, m := range p.Status() {
		if m.InFlight < 95 || m.InFlight > 105 || m.Streams < 95 || m.Streams > 105 {
			t.Errorf("%s has %d of 300 requests and %d of 300 streams", m.ID, m.InFlight, m.Streams)
		}
	}
}

func TestSlowStartShares(t *testing.T) {
	for _, policy := range []Policy{PolicyRandom, PolicyRoundRobin} {
		t.Run(string(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newTestPool(policy, Ready, Ready, Ready)
				p.SetClass("a", Down)
				p.SetClass("a", Ready)
				near(t, "at first", spread(t, p, 20_000), map[string]float64{"a": 0.1 / 2.1, "b": 1 / 2.1, "c": 1 / 2.1}, 0.025)
				pass(15 * time.Second)
				near(t, "after 15s", spread(t, p, 20_000), map[string]float64{"a": 0.55 / 2.55, "b": 1 / 2.55, "c": 1 / 2.55}, 0.025)
				pass(15 * time.Second)
				near(t, "after 30s", spread(t, p, 20_000), map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, 0.025)
			})
		})
	}
}

func TestSlowStartShareOfLoad(t *testing.T) {
	p := newTestPool(PolicyLeastRequest, Ready, Ready)
	p.SetClass("a", Down)
	p.SetClass("a", Ready)
	hold(t, p, 110, Request{Kind: QuorumRead})
	if got := status(t, p, "a").InFlight; got < 8 || got > 12 {
		t.Errorf("%d of 110 in flight at a member of weight 0.1, want 10", got)
	}
}

func TestSlowStartOfAllStillChooses(t *testing.T) {
	for _, policy := range Policies() {
		p := newTestPool(policy, Ready, Ready, Ready)
		for _, id := range []string{"a", "b"} {
			p.SetClass(id, Down)
			p.SetClass(id, Ready)
		}
		p.SetClass("c", Down)
		counts := spread(t, p, 1000)
		if counts["c"] > 0 || counts["a"]+counts["b"] != 1000 {
			t.Errorf("%s: %v", policy, counts)
		}
	}
}
