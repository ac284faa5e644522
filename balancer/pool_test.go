package balancer

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestBestTierFirst(t *testing.T) {
	for _, test := range []struct {
		name     string
		classes  []Class
		draining string   // IDs
		open     string   // IDs
		want     []string // the IDs of each tier in turn, as one request that is refused everywhere sees them
	}{
		{name: "one of each class", classes: []Class{Misconfigured, Down, Degraded, Suspect, Ready}, want: []string{"e", "d", "c"}},
		{name: "all READY", classes: []Class{Ready, Ready, Ready}, want: []string{"abc"}},
		{name: "none at all", want: nil},
		{name: "none that may be used", classes: []Class{Down, Misconfigured}, want: nil},
		{name: "a draining one is DEGRADED", classes: []Class{Ready, Suspect, Degraded}, draining: "a", want: []string{"b", "ac"}},
		{name: "the last one serves though it drains", classes: []Class{Ready, Down}, draining: "ab", want: []string{"a"}},
		{name: "an open breaker comes after everything", classes: []Class{Ready, Suspect, Degraded}, open: "a", want: []string{"b", "c", "a"}},
		{name: "all breakers open", classes: []Class{Ready, Ready, Degraded}, open: "abc", want: []string{"abc"}},
		{name: "one server with an open breaker", classes: []Class{Ready}, open: "a", want: []string{"a"}},
		{name: "an open breaker does not bring a DOWN one back", classes: []Class{Ready, Down}, open: "a", want: []string{"a"}},
	} {
		for _, policy := range Policies() {
			t.Run(test.name+"/"+string(policy), func(t *testing.T) {
				p := newTestPool(policy, test.classes...)
				for _, id := range test.open {
					report(t, p, string(id), times(5, Failure)...)
				}
				for _, id := range test.draining {
					p.Drain(string(id), true)
				}
				eligible := 0
				for _, tier := range test.want {
					eligible += len(tier)
				}
				equal(t, "Eligible", p.Eligible(), eligible)

				var tried []string
				for _, tier := range test.want {
					var got []string
					for range tier {
						a := mustPick(t, p, Request{Key: "k", Kind: QuorumRead, Tried: tried})
						got = append(got, a.ID())
						tried = append(tried, a.ID())
						a.Report(Neutral)
						a.Done()
					}
					slices.Sort(got)
					var want []string
					for _, id := range tier {
						want = append(want, string(id))
					}
					equal(t, "tier "+tier, got, want)
				}
				if a, ok := p.Pick(Request{Key: "k", Tried: tried}); ok {
					t.Errorf("all were tried, and Pick gave %s", a.ID())
				}
			})
		}
	}
}

func TestUndrainedTakesNewWork(t *testing.T) {
	p := newTestPool(PolicyRandom, Ready, Suspect)
	p.Drain("a", true)
	equal(t, "while it drains", picked(t, p, Request{}), "b")
	p.Drain("a", false)
	p.Drain("no such", true)
	equal(t, "after", picked(t, p, Request{}), "a")
}

func TestSetKeepsWhatStays(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	watch := mustPick(t, p, Request{Key: "k", Kind: Watch, Tried: []string{"b", "c"}})
	read := mustPick(t, p, Request{Key: "k", Kind: CachedRead, Tried: []string{"b", "c"}})
	gone := mustPick(t, p, Request{Key: "k", Kind: Write, Tried: []string{"a", "c"}})
	report(t, p, "a", times(5, Failure)...)
	p.Drain("a", true)

	p.Set([]Member[string]{
		{ID: "c", Value: "new c", Class: Suspect},
		{ID: "a", Value: "new a", Class: Degraded},
		{ID: "a", Value: "another a", Class: Ready},
	})
	equal(t, "status", p.Status(), []MemberStatus{
		{ID: "c", Weight: 1},
		{ID: "a", Draining: true, Breaker: BreakerOpen, InFlight: 1, Streams: 1, Weight: 1},
	})
	equal(t, "classes", []Class{classOf(p, "c"), classOf(p, "a")}, []Class{Suspect, Degraded})
	for id, want := range map[string]BreakerState{"a": BreakerOpen, "c": BreakerClosed} {
		got, ok := p.Breaker(id)
		equal(t, "breaker of "+id, got, want)
		equal(t, id+" is a member", ok, true)
	}
	_, ok := p.Breaker("b")
	equal(t, "b is a member", ok, false)
	equal(t, "value of the attempt", read.Value(), "https://a")
	a := attemptAt(t, p, "a")
	equal(t, "value", a.Value(), "new a")
	a.Done()

	// b comes back as another: its old attempts do not count.
	p.Set([]Member[string]{{ID: "a"}, {ID: "b"}})
	for _, a := range []Attempt[string]{watch, read, gone} {
		a.Report(Success)
		a.Done()
	}
	equal(t, "status at the end", p.Status(), []MemberStatus{
		{ID: "a", Draining: true, Breaker: BreakerOpen, Weight: 1},
		{ID: "b", Weight: 1},
	})
}

// step is a change of class in slowStartCases.
type step struct {
	id    string
	class Class
}

func TestSlowStart(t *testing.T) {
	for _, test := range []struct {
		name   string
		others Class // of b; c is DOWN
		drain  string
		steps  []step
		want   float64
	}{
		{name: "DOWN to READY", steps: []step{{"a", Down}, {"a", Ready}}, want: 0.1},
		{name: "DOWN over SUSPECT to READY", steps: []step{{"a", Down}, {"a", Suspect}, {"a", Ready}}, want: 0.1},
		{name: "DOWN over DEGRADED to READY", steps: []step{{"a", Down}, {"a", Degraded}, {"a", Ready}}, want: 0.1},
		{name: "again after a second DOWN", steps: []step{{"a", Down}, {"a", Ready}, {"a", Down}, {"a", Ready}}, want: 0.1},
		{name: "it goes on over SUSPECT", steps: []step{{"a", Down}, {"a", Ready}, {"a", Suspect}, {"a", Ready}}, want: 0.1},
		{name: "not after a second DOWN, when it comes back alone", steps: []step{{"a", Down}, {"a", Ready}, {"a", Down}, {"b", Suspect}, {"a", Ready}}, want: 1},
		{name: "not after SUSPECT", steps: []step{{"a", Suspect}, {"a", Ready}}, want: 1},
		{name: "not after DEGRADED", steps: []step{{"a", Degraded}, {"a", Ready}}, want: 1},
		{name: "not after MISCONFIGURED", steps: []step{{"a", Misconfigured}, {"a", Ready}}, want: 1},
		{name: "not before it is READY", steps: []step{{"a", Down}, {"a", Suspect}}, want: 1},
		{name: "not when it alone is READY", others: Suspect, steps: []step{{"a", Down}, {"a", Ready}}, want: 1},
		{name: "not when the only other READY one drains", drain: "b", steps: []step{{"a", Down}, {"a", Ready}}, want: 1},
		{name: "not later, when it came back alone", others: Suspect, steps: []step{{"a", Down}, {"a", Ready}, {"b", Ready}, {"a", Suspect}, {"a", Ready}}, want: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newTestPool(PolicyRandom, Ready, test.others, Down)
			p.Drain(test.drain, true)
			for _, s := range test.steps {
				p.SetClass(s.id, s.class)
			}
			if got := status(t, p, "a").Weight; got < test.want || got > test.want+0.01 {
				t.Errorf("weight %.3f, want %.1f", got, test.want)
			}
			equal(t, "weight of the other", status(t, p, "b").Weight, 1.0)
		})
	}
}

func TestSlowStartNotAtTheBeginning(t *testing.T) {
	p := newTestPool(PolicyRandom, Ready, Down)
	p.SetClass("b", Ready)
	equal(t, "weight of one that was never up", status(t, p, "b").Weight, 1.0)
}

func TestSlowStartCanBeOff(t *testing.T) {
	c := DefaultConfig()
	c.SlowStart = 0
	p := NewPool[string](c, Options{})
	p.Set(testMembers(Ready, Ready))
	p.SetClass("a", Down)
	p.SetClass("a", Ready)
	equal(t, "weight", status(t, p, "a").Weight, 1.0)
}

func TestSlowStartBySet(t *testing.T) {
	p := newTestPool(PolicyRandom, Ready, Ready)
	p.Set(testMembers(Down, Ready))
	p.Set(testMembers(Ready, Ready))
	for range 2 {
		if got := status(t, p, "a").Weight; got > 0.11 {
			t.Errorf("weight %.3f, want 0.1", got)
		}
		p.Set(testMembers(Ready, Ready, Ready)) // another one is no reason to end it
	}
}

func TestSlowStartGrowsEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(PolicyRandom, Ready, Ready)
		p.SetClass("a", Down)
		pass(time.Minute)
		p.SetClass("a", Ready)
		for _, want := range []float64{0.1, 0.4, 0.7, 1, 1} {
			got := status(t, p, "a").Weight
			if got < want-0.001 || got > want+0.001 {
				t.Errorf("weight %.3f, want %.1f", got, want)
			}
			pass(10 * time.Second)
		}
	})
}
