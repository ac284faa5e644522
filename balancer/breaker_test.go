package balancer

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A script is outcomes (S, F, N), seconds (digits) and nothing else.
func play(t *testing.T, p *Pool[string], id, script string) {
	t.Helper()
	for word := range strings.FieldsSeq(script) {
		if d, err := time.ParseDuration(word); err == nil {
			pass(d)
			continue
		}
		for _, c := range word {
			report(t, p, id, map[rune]Outcome{'S': Success, 'F': Failure, 'N': Neutral}[c])
		}
	}
}

func TestBreakerOpens(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want         BreakerState
	}{
		{"five failures in a row", "FFFFF", BreakerOpen},
		{"four are not enough", "FFFF", BreakerClosed},
		{"a success ends the row", "FFFFSFFFFSFFFF", BreakerClosed},
		{"what is neutral does not", "FFNFFNNF", BreakerOpen},
		{"what is neutral does not count", strings.Repeat("N", 100), BreakerClosed},
		{"the row is in the window", "F 9.9s FFFF", BreakerOpen},
		{"the row is older than the window", "F 10s FFFF", BreakerClosed},
		{"half of twenty", strings.Repeat("FS", 9) + "SF", BreakerOpen},
		{"half of nineteen", "S" + strings.Repeat("SF", 9), BreakerClosed},
		{"less than half of twenty", strings.Repeat("FSS", 20), BreakerClosed},
		{"successes count though they come first", strings.Repeat("S", 50) + strings.Repeat("FFFSS", 9) + "F", BreakerClosed},
		{"half in the end", strings.Repeat("S", 10) + strings.Repeat("FFFS", 5), BreakerOpen},
		{"old successes do not count", strings.Repeat("S", 1000) + " 10s " + strings.Repeat("FS", 10) + "F", BreakerOpen},
		{"old failures do not count", strings.Repeat("FS", 9) + " 10s " + strings.Repeat("FS", 9), BreakerClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newTestPool(PolicySticky, Ready, Ready)
				play(t, p, "a", test.script)
				equal(t, "breaker", status(t, p, "a").Breaker, test.want)
				equal(t, "breaker of the other", status(t, p, "b").Breaker, BreakerClosed)
			})
		})
	}
}

// The way past gobreaker's lock must not change what gobreaker decides.
func TestBreakerCountsAsGobreaker(t *testing.T) {
	opened := 0
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			c := DefaultConfig().Breaker
			c.ConsecutiveFailures = 5 + uint32(random.IntN(5))
			c.Window = time.Duration(2+random.IntN(11)) * time.Second // of one second gobreaker makes a fixed window
			b := newBreaker(c, clock{start: time.Now()}, func(_, _ BreakerState) {})
			plain := gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
				Interval: c.Window, BucketPeriod: time.Second, Timeout: time.Hour,
				ReadyToTrip: func(n gobreaker.Counts) bool {
					return n.ConsecutiveFailures >= c.ConsecutiveFailures || n.Requests >= c.MinRequests &&
						float64(n.TotalFailures) >= c.FailureRatio*float64(n.Requests)
				},
			})
			failures := random.Float64() * 0.6
			for n := range 2000 {
				if random.IntN(20) == 0 {
					pass(time.Duration(random.IntN(20)) * 100 * time.Millisecond)
				}
				o, done := Success, error(nil)
				if random.Float64() < failures {
					o, done = Failure, errFailed
				}
				b.report(b.current(), o)
				ended, err := plain.Allow()
				if err != nil {
					t.Fatal(err)
				}
				ended(done)
				open := plain.State() == gobreaker.StateOpen
				if got := b.state() == BreakerOpen; got != open {
					t.Fatalf("seed %d, outcome %d: open %v, gobreaker says %v", seed, n, got, open)
				}
				if open {
					opened++
					return
				}
			}
		})
	}
	if opened < 25 || opened > 75 {
		t.Errorf("%d of 100 breakers opened: the outcomes tell nothing", opened)
	}
}

// change is one that OnBreaker heard of.
type change struct {
	ID       string
	From, To BreakerState
	At       time.Duration
}

// newHeardPool returns a pool and what was heard of its breakers since the
// last call, timed from then.
func newHeardPool(classes ...Class) (p *Pool[string], take func() []change) {
	var mu sync.Mutex
	var heard []change
	start := time.Now()
	p = NewPool[string](DefaultConfig(), Options{OnBreaker: func(id string, from, to BreakerState) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, change{id, from, to, time.Since(start)})
	}})
	p.Set(testMembers(classes...))
	return p, func() []change {
		mu.Lock()
		defer mu.Unlock()
		all := heard
		heard, start = nil, time.Now()
		return all
	}
}

// expectOpenTime waits for the half-open state and tells how long that took.
func expectOpenTime(t *testing.T, p *Pool[string], heard func() []change, mean time.Duration) {
	t.Helper()
	equal(t, "breaker", status(t, p, "a").Breaker, BreakerOpen)
	heard()
	pass(2 * mean)
	changes := heard()
	if len(changes) != 1 || changes[0].To != BreakerHalfOpen {
		t.Fatalf("changes %+v, want to half-open", changes)
	}
	if at := changes[0].At; at < mean*8/10 || at > mean*12/10 {
		t.Errorf("open for %s, want %s ± 20 %%", at, mean)
	}
}

func TestOpenTimeDoubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Ready)
		report(t, p, "a", times(5, Failure)...)
		for _, mean := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
			expectOpenTime(t, p, heard, mean)
			p.HalfOpenResult("a", false)
		}
		expectOpenTime(t, p, heard, time.Minute)
		p.HalfOpenResult("a", true)
		equal(t, "breaker", status(t, p, "a").Breaker, BreakerClosed)

		// Open again before a healthy minute: as long as before.
		pass(59 * time.Second)
		report(t, p, "a", times(5, Failure)...)
		expectOpenTime(t, p, heard, time.Minute)
		p.HalfOpenResult("a", true)

		// After a healthy minute: as at first.
		pass(60 * time.Second)
		report(t, p, "a", times(5, Failure)...)
		expectOpenTime(t, p, heard, 5*time.Second)
		p.HalfOpenResult("a", true)
		report(t, p, "a", times(5, Failure)...)
		expectOpenTime(t, p, heard, 10*time.Second)
	})
}

func TestOpenTimeVaries(t *testing.T) {
	b := newBreaker(DefaultConfig().Breaker, clock{}, nil)
	shortest, longest := time.Hour, time.Duration(0)
	for range 10000 {
		d := b.openTime()
		shortest, longest = min(shortest, d), max(longest, d)
	}
	if shortest < 4*time.Second || shortest > 4100*time.Millisecond || longest > 6*time.Second || longest < 5900*time.Millisecond {
		t.Errorf("between %s and %s, want 5s ± 20 %%", shortest, longest)
	}
}

func TestOnlyAProbeDecidesHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Ready)
		p.HalfOpenResult("a", false)
		p.HalfOpenResult("no such", false)
		equal(t, "a failed probe of a closed one", status(t, p, "a").Breaker, BreakerClosed)
		report(t, p, "a", times(5, Failure)...)
		p.HalfOpenResult("a", true)
		equal(t, "a probe while it is open", status(t, p, "a").Breaker, BreakerOpen)
		report(t, p, "a", times(50, Success)...)
		equal(t, "requests while it is open", status(t, p, "a").Breaker, BreakerOpen)
		expectOpenTime(t, p, heard, 5*time.Second)

		report(t, p, "a", times(50, Success)...)
		equal(t, "successes while it is half-open", status(t, p, "a").Breaker, BreakerHalfOpen)
		report(t, p, "a", times(50, Failure)...)
		equal(t, "failures while it is half-open", status(t, p, "a").Breaker, BreakerHalfOpen)
		pass(time.Hour)
		equal(t, "an hour without a probe", status(t, p, "a").Breaker, BreakerHalfOpen)
		p.HalfOpenResult("a", true)
		equal(t, "a passed probe", status(t, p, "a").Breaker, BreakerClosed)
	})
}

func TestOutcomesFromBeforeDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Ready)
		var old []Attempt[string]
		for range 20 {
			old = append(old, attemptAt(t, p, "a"))
		}
		report(t, p, "a", times(5, Failure)...)
		for range 20 {
			old = append(old, attemptAt(t, p, "a"))
		}
		expectOpenTime(t, p, heard, 5*time.Second)
		p.HalfOpenResult("a", true)
		report(t, p, "a", times(4, Failure)...)
		for _, a := range old {
			a.Report(Failure)
			a.Done()
		}
		equal(t, "after old failures", status(t, p, "a").Breaker, BreakerClosed)
		report(t, p, "a", Failure)
		equal(t, "after one more new failure", status(t, p, "a").Breaker, BreakerOpen)
	})
}

func TestOldSuccessesDoNotHideNewFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Ready)
		var old []Attempt[string]
		for range 100 {
			old = append(old, attemptAt(t, p, "a"))
		}
		report(t, p, "a", times(5, Failure)...)
		expectOpenTime(t, p, heard, 5*time.Second)
		p.HalfOpenResult("a", true)
		for _, a := range old {
			a.Report(Success)
			a.Done()
		}
		play(t, p, "a", strings.Repeat("SF", 10))
		equal(t, "half of twenty", status(t, p, "a").Breaker, BreakerOpen)
	})
}

func TestCountsBeginAnewWhenItCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := DefaultConfig()
		c.Breaker.OpenFor = time.Second
		p := NewPool[string](c, Options{})
		p.Set(testMembers(Ready))
		report(t, p, "a", times(1000, Success)...)
		report(t, p, "a", times(5, Failure)...)
		pass(2 * time.Second)
		p.HalfOpenResult("a", true)
		play(t, p, "a", strings.Repeat("FS", 10)+"F")
		equal(t, "breaker", status(t, p, "a").Breaker, BreakerOpen)
	})
}

func TestHalfOpenRanksAsSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Degraded, Down)
		report(t, p, "a", times(5, Failure)...)
		equal(t, "open, and one DEGRADED", picked(t, p, Request{}), "b")
		expectOpenTime(t, p, heard, 5*time.Second)
		equal(t, "half-open, and one DEGRADED", picked(t, p, Request{}), "a")
		p.SetClass("c", Ready)
		equal(t, "half-open, and one READY", picked(t, p, Request{}), "c")
		p.HalfOpenResult("a", false)
		p.SetClass("c", Down)
		equal(t, "open again", picked(t, p, Request{}), "b")
	})
}

func TestAMemberComesBackWithAClosedBreaker(t *testing.T) {
	for _, away := range []Class{Down, Misconfigured} {
		for _, comeBack := range []Class{Ready, Suspect, Degraded} {
			for _, set := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s to %s, Set %v", away, comeBack, set), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p, heard := newHeardPool(Ready, Ready)
						enter := func(c Class) {
							if set {
								p.Set(testMembers(c, Ready))
							} else {
								p.SetClass("a", c)
							}
						}
						report(t, p, "a", times(5, Failure)...)
						enter(away)
						pass(time.Second)
						enter(comeBack)
						equal(t, "breaker", status(t, p, "a").Breaker, BreakerClosed)
						pass(time.Minute) // the open time is over, of no account
						var got []BreakerState
						for _, c := range heard() {
							got = append(got, c.To)
						}
						equal(t, "changes", got, []BreakerState{BreakerOpen, BreakerClosed})

						// It counts from the beginning.
						report(t, p, "a", times(4, Failure)...)
						equal(t, "after four failures", status(t, p, "a").Breaker, BreakerClosed)
						report(t, p, "a", Failure)
						equal(t, "after five", status(t, p, "a").Breaker, BreakerOpen)
						expectOpenTime(t, p, heard, 5*time.Second)
						enter(comeBack)
						equal(t, "without having been away", status(t, p, "a").Breaker, BreakerHalfOpen)
					})
				})
			}
		}
	}
}

// The probes of a server that is off for an hour fail many times.
func TestOpenTimeDoesNotGrowWhileAMemberIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Ready)
		report(t, p, "a", times(5, Failure)...)
		p.SetClass("a", Down)
		for range 100 {
			pass(10 * time.Second)
			p.HalfOpenResult("a", false)
		}
		equal(t, "breaker", status(t, p, "a").Breaker, BreakerHalfOpen)
		p.HalfOpenResult("a", true)
		equal(t, "breaker after a passed probe", status(t, p, "a").Breaker, BreakerClosed)
		p.SetClass("a", Ready)
		report(t, p, "a", times(5, Failure)...)
		expectOpenTime(t, p, heard, 10*time.Second)
	})
}

func TestOnBreakerHearsEachChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Ready)
		report(t, p, "a", times(20, Failure)...)
		pass(6 * time.Second)
		p.HalfOpenResult("a", true)
		var got []string
		for _, c := range heard() {
			got = append(got, fmt.Sprintf("%s %s→%s", c.ID, c.From, c.To))
		}
		equal(t, "changes", got, []string{"a closed→open", "a open→half-open", "a half-open→closed"})
	})
}

func TestOnBreakerMayUseThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *Pool[string]
		var states []BreakerState
		p = NewPool[string](DefaultConfig(), Options{OnBreaker: func(id string, _, to BreakerState) {
			states = append(states, to)
			report(t, p, id, times(5, Failure)...)
			p.HalfOpenResult(id, true)
			p.SetClass(id, Suspect)
			p.Set(testMembers(Ready))
		}})
		p.Set(testMembers(Ready))
		report(t, p, "a", times(5, Failure)...)
		pass(6 * time.Second)
		// Half-open, it reports a passed probe; closed, five failures more.
		equal(t, "states", states, []BreakerState{BreakerOpen, BreakerHalfOpen, BreakerClosed, BreakerOpen})
	})
}

func TestARemovedMembersBreakerIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, heard := newHeardPool(Ready, Ready)
		var old []Attempt[string]
		for range 5 {
			old = append(old, attemptAt(t, p, "a"))
		}
		report(t, p, "b", times(5, Failure)...)
		equal(t, "changes", len(heard()), 1)
		p.Set(nil)
		p.Set(testMembers(Ready, Ready))
		for _, a := range old {
			a.Report(Failure)
			a.Done()
		}
		pass(time.Minute)
		equal(t, "changes after they were removed", heard(), []change(nil))
		equal(t, "breaker of the new one", status(t, p, "a").Breaker, BreakerClosed)
	})
}

func TestStatesHaveNames(t *testing.T) {
	equal(t, "breakers", fmt.Sprint(BreakerClosed, BreakerHalfOpen, BreakerOpen, BreakerState(9)), "closed half-open open unknown")
	equal(t, "classes", fmt.Sprint(Ready, Suspect, Degraded, Down, Misconfigured, Class(9)), "READY SUSPECT DEGRADED DOWN MISCONFIGURED UNKNOWN")
}
