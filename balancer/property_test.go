package balancer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A random walk over everything that can happen to a pool, one step at a time.
// What must hold after each step is computed from Status, not from the tiers.
func TestPoolKeepsItsPromises(t *testing.T) {
	for seed := range uint64(15) {
		for _, policy := range Policies() {
			t.Run(fmt.Sprint(policy, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := DefaultConfig()
					c.Policy = policy
					w := walk{t: t, Rand: rand.New(rand.NewPCG(seed, 1)), pool: NewPool[string](c, Options{})}
					for range 1200 {
						w.step()
					}
					w.end()
				})
			})
		}
	}
}

type walk struct {
	*rand.Rand
	t        *testing.T
	pool     *Pool[string]
	inFlight []walkAttempt
	picked   int
}

type walkAttempt struct {
	Attempt[string]
	kind Kind
	of   *member // which of all that had the ID
}

func (w *walk) id() string { return string(rune('a' + w.IntN(6))) }

func (w *walk) step() {
	switch n := w.IntN(100); {
	case n < 45:
		w.pick()
	case n < 80:
		w.finish()
	case n < 88:
		w.pool.SetClass(w.id(), Class(w.IntN(5)))
	case n < 91:
		w.pool.Drain(w.id(), w.IntN(2) == 0)
	case n < 94:
		w.set()
	case n < 97:
		w.pool.HalfOpenResult(w.id(), w.IntN(2) == 0)
	default:
		pass(time.Duration(w.IntN(5000)) * time.Millisecond)
	}
	w.counts()
}

func (w *walk) set() {
	var members []Member[string]
	for range w.IntN(7) {
		members = append(members, Member[string]{ID: w.id(), Class: Class(w.IntN(5))})
	}
	w.pool.Set(members)
}

// promised is the rank of a member, as the documentation has it.
func promised(class Class, m MemberStatus) int {
	switch {
	case class == Down, class == Misconfigured:
		return -1
	case m.Breaker == BreakerOpen:
		return 3
	case class == Degraded, m.Draining:
		return 2
	case class == Suspect, m.Breaker == BreakerHalfOpen:
		return 1
	}
	return 0
}

func (w *walk) pick() {
	r := Request{Key: fmt.Sprint(w.IntN(20)), Kind: Kind(w.IntN(5))}
	for w.IntN(3) == 0 {
		r.Tried = append(r.Tried, w.id())
	}
	ranks, eligible, best := map[string]int{}, 0, -1
	for _, m := range w.pool.Status() {
		rank := promised(classOf(w.pool, m.ID), m)
		if rank < 0 {
			continue
		}
		eligible++
		if slices.Contains(r.Tried, m.ID) {
			continue
		}
		ranks[m.ID] = rank
		if best < 0 || rank < best {
			best = rank
		}
	}
	if got := w.pool.Eligible(); got != eligible {
		w.t.Fatalf("Eligible %d, want %d", got, eligible)
	}
	a, ok := w.pool.Pick(r)
	if ok != (best >= 0) {
		w.t.Fatalf("Pick(%+v) of %+v: %v", r, w.pool.Status(), ok)
	}
	if !ok {
		return
	}
	if rank, may := ranks[a.ID()]; !may || rank != best {
		w.t.Fatalf("Pick(%+v) of %+v: %s, want rank %d", r, w.pool.Status(), a.ID(), best)
	}
	w.picked++
	w.inFlight = append(w.inFlight, walkAttempt{a, r.Kind, a.entry.member})
}

func (w *walk) finish() {
	if len(w.inFlight) == 0 {
		return
	}
	i := w.IntN(len(w.inFlight))
	a := w.inFlight[i]
	a.Report(Outcome(w.IntN(3)))
	a.Done()
	w.inFlight = slices.Delete(w.inFlight, i, i+1)
}

// counts compares the pool's counts with the attempts in flight.
func (w *walk) counts() {
	now := map[string]*member{}
	for _, e := range w.pool.current.Load().entries {
		now[e.id] = e.member
	}
	requests, streams := map[string]int64{}, map[string]int64{}
	for _, a := range w.inFlight {
		switch {
		case now[a.ID()] != a.of: // of one that was removed
		case a.kind == Watch, a.kind == Upgrade:
			streams[a.ID()]++
		default:
			requests[a.ID()]++
		}
	}
	for _, m := range w.pool.Status() {
		if m.InFlight != requests[m.ID] || m.Streams != streams[m.ID] {
			w.t.Fatalf("%+v, want %d requests and %d streams", m, requests[m.ID], streams[m.ID])
		}
		if m.Weight < 0.1-1e-9 || m.Weight > 1 {
			w.t.Fatalf("%+v: weight is not between 0.1 and 1", m)
		}
	}
}

func (w *walk) end() {
	for len(w.inFlight) > 0 {
		w.finish()
	}
	w.counts()
	for _, m := range w.pool.Status() {
		if m.InFlight != 0 || m.Streams != 0 {
			w.t.Errorf("%+v at the end", m)
		}
	}
	if w.picked < 100 {
		w.t.Errorf("only %d picks found something", w.picked)
	}
}
