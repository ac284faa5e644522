package balancer

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func keys(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%016x", i)
	}
	return names
}

// hold picks for a request n times and leaves them all in flight. It returns
// the first.
func hold(t *testing.T, p *Pool[string], n int, r Request) Attempt[string] {
	t.Helper()
	first := mustPick(t, p, r)
	for range n - 1 {
		mustPick(t, p, r)
	}
	return first
}

// near fails if one of the counts, of all the members, is not share of total,
// give or take tolerance.
func near(t *testing.T, what string, counts map[string]int, share map[string]float64, tolerance float64) {
	t.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	for id, want := range share {
		if got := float64(counts[id]) / float64(total); math.Abs(got-want) > tolerance {
			t.Errorf("%s: %s got %.3f of %d, want %.3f ± %.3f", what, id, got, total, want, tolerance)
		}
	}
}

func TestStickyStays(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	seen := map[string]bool{}
	for _, key := range keys(50) {
		first := picked(t, p, Request{Key: key, Kind: QuorumRead})
		seen[first] = true
		for _, kind := range []Kind{CachedRead, QuorumRead, Write, Watch} {
			for range 20 {
				equal(t, key, picked(t, p, Request{Key: key, Kind: kind}), first)
			}
		}
	}
	equal(t, "members in use", len(seen), 3)
}

func TestStickyEndsFiveMinutesAfterTheLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(PolicySticky, Ready, Ready, Ready)
		read := Request{Key: "k", Kind: CachedRead}
		first := hold(t, p, 10, read).ID() // so that it is nobody's second choice
		for range 5 {
			pass(5 * time.Minute)
			equal(t, "in time", picked(t, p, read), first)
		}
		pass(5*time.Minute + time.Second)
		retry := read
		retry.Tried = []string{first}
		picked(t, p, retry) // a retry binds nothing, and revives nothing
		second := picked(t, p, read)
		if second == first {
			t.Errorf("still at %s, which has ten requests in flight", first)
		}
		equal(t, "after that", picked(t, p, read), second)
	})
}

func TestStickyMovesWithTheBestClass(t *testing.T) {
	for _, test := range []struct {
		name        string
		leave, back func(p *Pool[string], id string)
	}{
		{"SUSPECT", func(p *Pool[string], id string) { p.SetClass(id, Suspect) }, func(p *Pool[string], id string) { p.SetClass(id, Ready) }},
		{"DOWN", func(p *Pool[string], id string) { p.SetClass(id, Down) }, func(p *Pool[string], id string) { p.SetClass(id, Ready) }},
		{"drained", func(p *Pool[string], id string) { p.Drain(id, true) }, func(p *Pool[string], id string) { p.Drain(id, false) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newTestPool(PolicySticky, Ready, Ready, Ready)
			read := Request{Key: "k", Kind: CachedRead}
			first := picked(t, p, read)
			test.leave(p, first)
			second := picked(t, p, read)
			if second == first {
				t.Fatalf("still at %s", first)
			}
			equal(t, "while it is away", picked(t, p, read), second)
			test.back(p, first)
			equal(t, "when it is back", picked(t, p, read), second)
		})
	}
}

// All in one class, and that not READY, is no reason to move.
func TestStickyMovesWithTheOthers(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	for _, key := range keys(20) {
		first := picked(t, p, Request{Key: key})
		for _, id := range []string{"a", "b", "c"} {
			p.SetClass(id, Degraded)
		}
		equal(t, "all DEGRADED", picked(t, p, Request{Key: key}), first)
		for _, id := range []string{"a", "b", "c"} {
			p.SetClass(id, Ready)
		}
		equal(t, "all READY again", picked(t, p, Request{Key: key}), first)
	}
}

func TestARetryDoesNotMoveTheBinding(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	first := picked(t, p, Request{Key: "k"})
	for range 10 {
		if id := picked(t, p, Request{Key: "k", Tried: []string{first}}); id == first {
			t.Fatalf("%s was tried", id)
		}
	}
	equal(t, "next request", picked(t, p, Request{Key: "k"}), first)
}

func TestKeysSpread(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	counts := map[string]int{}
	for _, key := range keys(3000) {
		counts[picked(t, p, Request{Key: key})]++
	}
	near(t, "idle members", counts, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, 0.05)
}

func TestKeysSpreadUnderLoad(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	// Requests that stay on their member: a new key has to go where there
	// are fewer.
	first := hold(t, p, 1000, Request{Key: "heavy", Kind: CachedRead})
	for _, key := range keys(2000) {
		mustPick(t, p, Request{Key: key, Kind: CachedRead})
	}
	for _, m := range p.Status() {
		if m.InFlight < 990 || m.InFlight > 1010 {
			t.Errorf("%s has %d in flight of 3000 (%s has 1000 of one key)", m.ID, m.InFlight, first.ID())
		}
	}
}

// How many streams a server has tells how long it has been up. If keys were
// bound by that, a server that comes back would get all of them.
func TestStreamsDoNotBindKeys(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	hold(t, p, 100, Request{Key: "watcher", Kind: Watch, Tried: []string{"a", "b"}})
	hold(t, p, 100, Request{Key: "watcher", Kind: Watch, Tried: []string{"b", "c"}})
	counts := map[string]int{}
	for _, key := range keys(3000) {
		counts[mustPick(t, p, Request{Key: key, Kind: Watch}).ID()]++
	}
	near(t, "watches of new keys", counts, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, 0.05)
}

func TestNoHerdWhenAMemberGoes(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready, Ready)
	before := map[string]string{}
	for _, key := range keys(4000) {
		before[key] = picked(t, p, Request{Key: key})
	}
	p.SetClass("b", Down)
	moved := map[string]int{}
	for key, was := range before {
		is := picked(t, p, Request{Key: key})
		switch {
		case was == "b":
			moved[is]++
		case is != was:
			t.Fatalf("a key moved from %s to %s", was, is)
		}
	}
	near(t, "keys of the lost member", moved, map[string]float64{"a": 1. / 3, "b": 0, "c": 1. / 3, "d": 1. / 3}, 0.08)

	// And none when it comes back: what is bound stays.
	p.SetClass("b", Ready)
	for key := range before {
		if id := picked(t, p, Request{Key: key}); id == "b" {
			t.Fatalf("a key moved back")
		}
	}
}

// Every laptop uses the same name for its one identity: they must not all
// choose the same API server.
func TestPoolsDiffer(t *testing.T) {
	counts := map[string]int{}
	for range 600 {
		p := NewPool[string](DefaultConfig(), Options{})
		p.Set(testMembers(Ready, Ready, Ready))
		counts[picked(t, p, Request{Key: "proxy"})]++
	}
	near(t, "pools", counts, map[string]float64{"a": 1. / 3, "b": 1. / 3, "c": 1. / 3}, 0.13)
}

func TestLoadIsBounded(t *testing.T) {
	for _, kind := range []Kind{QuorumRead, Write} {
		for members := 2; members <= 5; members++ {
			t.Run(fmt.Sprintf("kind %d, %d members", kind, members), func(t *testing.T) {
				p := newTestPool(PolicySticky, make([]Class, members)...)
				bound := picked(t, p, Request{Key: "k"})
				for n := range int64(200) { // n are in flight
					had := status(t, p, bound).InFlight
					limit := int64(math.Ceil(1.25 * float64(n+1) / float64(members)))
					a := mustPick(t, p, Request{Key: "k", Kind: kind})
					if stays := had+1 <= limit; stays != (a.ID() == bound) {
						t.Fatalf("with %d of %d in flight at %s, limit %d, the next one goes to %s", had, n, bound, limit, a.ID())
					}
					for _, m := range p.Status() {
						if m.InFlight > limit {
							t.Fatalf("%s has %d of %d in flight, limit %d", m.ID, m.InFlight, n+1, limit)
						}
					}
				}
			})
		}
	}
}

func TestCachedReadsAndWatchesNeverSpill(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	bound := picked(t, p, Request{Key: "k"})
	hold(t, p, 100, Request{Key: "k", Kind: CachedRead})
	hold(t, p, 100, Request{Key: "k", Kind: Watch})
	equal(t, "all of them", status(t, p, bound), MemberStatus{ID: bound, InFlight: 100, Streams: 100, Weight: 1})
	for range 50 {
		if id := mustPick(t, p, Request{Key: "k", Kind: Write}).ID(); id == bound {
			t.Fatalf("a write goes to %s, which has 100 requests of 100 in flight", id)
		}
	}
}

// Streams are no load: a member with a hundred watches takes writes.
func TestStreamsDoNotSpillRequests(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	bound := picked(t, p, Request{Key: "k"})
	hold(t, p, 100, Request{Key: "k", Kind: Watch})
	equal(t, "a write", picked(t, p, Request{Key: "k", Kind: Write}), bound)
}

func TestUpgradesGoWhereThereAreFewerStreams(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	bound := picked(t, p, Request{Key: "k"})
	hold(t, p, 50, Request{Key: "k", Kind: CachedRead}) // does not matter
	hold(t, p, 100, Request{Key: "k", Kind: Watch})     // does
	hold(t, p, 200, Request{Key: "k", Kind: Upgrade})
	for _, m := range p.Status() {
		if m.Streams < 95 || m.Streams > 105 {
			t.Errorf("%s has %d of 300 streams", m.ID, m.Streams)
		}
	}
	equal(t, "the binding", picked(t, p, Request{Key: "k"}), bound)
}

// A member in slow start has a tenth of a share: the other one, with all the
// load, has less than 1.25 times its own.
func TestSlowStartBoundsSpilling(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready)
	p.SetClass("a", Down)
	equal(t, "the only one", picked(t, p, Request{Key: "k"}), "b")
	p.SetClass("a", Ready)
	for _, key := range keys(100) {
		equal(t, "a new key", picked(t, p, Request{Key: key}), "b")
	}
	hold(t, p, 110, Request{Key: "k", Kind: QuorumRead})
	equal(t, "in flight at the member in slow start", status(t, p, "a").InFlight, int64(0))
}

func TestBindingsAreBounded(t *testing.T) {
	b := newBindings()
	now := time.Duration(0)
	b.bind("hot", "", "a", now)
	for i, key := range keys(50_000) {
		if i%100 == 0 {
			now += time.Second
			if id := b.get("hot", now); id != "a" {
				t.Fatalf("the key that is in use is bound to %q", id)
			}
		}
		b.bind(key, "", "b", now)
		if id := b.get(key, now); id != "b" {
			t.Fatalf("the key just bound is bound to %q", id)
		}
	}
	n := 0
	for i := range b.sets {
		for j := range b.sets[i] {
			if b.sets[i][j].Load() != nil {
				n++
			}
		}
	}
	if most := bindingSets * bindingWays; n > most || n < most*9/10 {
		t.Errorf("%d bindings, want about %d", n, most)
	}
}

func TestTheFirstOfTwoRequestsBinds(t *testing.T) {
	b := newBindings()
	equal(t, "first", b.bind("k", "", "a", 0), "a")
	equal(t, "second, which had found none", b.bind("k", "", "b", 0), "a")
	equal(t, "one that had found it", b.bind("k", "a", "b", 0), "b")
	equal(t, "one that was late", b.bind("k", "a", "c", 0), "b")
	equal(t, "get", b.get("k", 0), "b")
	equal(t, "get of another key", b.get("K", 0), "")
	equal(t, "long after", b.get("k", bindingIdle+1), "")
	equal(t, "and still", b.get("k", bindingIdle+1), "")
	equal(t, "first of a new time", b.bind("k", "", "c", bindingIdle+1), "c")
	equal(t, "get", b.get("k", bindingIdle+2), "c")
}
