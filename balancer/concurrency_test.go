package balancer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestConcurrentUse(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(string(policy), func(t *testing.T) {
			c := DefaultConfig()
			c.Policy = policy
			c.Breaker.OpenFor = time.Millisecond
			c.Breaker.MaxOpenFor = 2 * time.Millisecond
			var changes atomic.Int64
			var p *Pool[string]
			p = NewPool[string](c, Options{OnBreaker: func(id string, _, _ BreakerState) {
				changes.Add(1)
				p.HalfOpenResult(id, rand.IntN(2) == 0)
			}})
			classes := []Class{Ready, Ready, Suspect, Degraded}
			p.Set(testMembers(classes...))

			var work, meddling sync.WaitGroup
			ctx, stop := context.WithCancel(t.Context())
			meddle := func(f func(id string)) {
				meddling.Go(func() {
					for ctx.Err() == nil {
						f(string(rune('a' + rand.IntN(5))))
					}
				})
			}
			meddle(func(id string) { p.SetClass(id, Class(rand.IntN(5))) })
			meddle(func(id string) {
				p.Drain(id, rand.IntN(2) == 0)
				p.HalfOpenResult(id, rand.IntN(2) == 0)
				p.Status()
				p.Retry(false)
			})
			meddle(func(string) {
				// d comes and goes.
				p.Set(testMembers(classes[:3+rand.IntN(2)]...))
				p.Wait(ctx)
			})
			var found atomic.Int64
			for g := range 8 {
				work.Go(func() {
					for n := range 1000 {
						r := Request{Key: fmt.Sprint(n % 10), Kind: Kind((n + g) % 5)}
						for {
							a, ok := p.Pick(r)
							if !ok {
								break
							}
							if r.tried(a.ID()) {
								t.Errorf("%s was tried", a.ID())
							}
							found.Add(1)
							r.Tried = append(r.Tried, a.ID())
							a.Report(Outcome(rand.IntN(3)))
							a.Done()
						}
					}
				})
			}
			work.Wait()
			stop()
			meddling.Wait()
			for _, m := range p.Status() {
				if m.InFlight != 0 || m.Streams != 0 {
					t.Errorf("%+v at the end", m)
				}
			}
			if found.Load() < 1000 || changes.Load() == 0 {
				t.Errorf("%d picks, %d changes of a breaker: nothing was put to the test", found.Load(), changes.Load())
			}
			p.Set(nil)
		})
	}
}

// One key's first requests come together, and go to one member.
func TestConcurrentFirstUse(t *testing.T) {
	p := newTestPool(PolicySticky, Ready, Ready, Ready)
	for n := range 500 {
		key := fmt.Sprint(n)
		ids := make([]string, 8)
		var all sync.WaitGroup
		begin := make(chan struct{})
		for i := range ids {
			all.Go(func() {
				<-begin
				a, _ := p.Pick(Request{Key: key, Kind: CachedRead})
				ids[i] = a.ID()
			})
		}
		close(begin)
		all.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("the requests of one identity went to %v", ids)
			}
		}
	}
}

func TestTheHotPathTakesNoLock(t *testing.T) {
	for _, policy := range Policies() {
		p := newTestPool(policy, Ready, Ready, Ready)
		r := Request{Key: "k", Kind: QuorumRead}
		roundTrip(p, r, Success) // binds the key
		p.mu.Lock()
		p.waitMu.Lock()
		p.budget.mu.Lock()
		p.bindings.mu.Lock()
		for _, e := range p.current.Load().entries {
			e.breaker.mu.Lock()
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			roundTrip(p, r, Success)
			roundTrip(p, r, Neutral)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: Pick, Report or Done waits for a lock", policy)
		}
	}
}

func TestTheHotPathAllocatesNothing(t *testing.T) {
	for _, policy := range Policies() {
		p := newTestPool(policy, Ready, Ready, Ready)
		p.SetClass("b", Down)
		p.SetClass("b", Ready) // slow start
		for kind := CachedRead; kind <= Upgrade; kind++ {
			for _, tried := range [][]string{nil, {"a"}} {
				r := Request{Key: "k", Kind: kind, Tried: tried}
				if n := testing.AllocsPerRun(100, func() { roundTrip(p, r, Success) }); n != 0 {
					t.Errorf("%s, kind %d, tried %v: %v allocations", policy, kind, tried, n)
				}
			}
		}
	}
}
