package balancer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a pool has besides its configuration.
type Options struct {
	// OnBreaker gets every change of a member's breaker, one at a time and in
	// order. It runs on the goroutine of a request, a probe or a timer, and no
	// lock is held. May be nil.
	OnBreaker func(id string, from, to BreakerState)
	// StillWaiting is called four times a second by each call of [Pool.Wait]
	// that goes on. It must not block. May be nil.
	StillWaiting func()
}

// maxWaiters bounds how many requests [Pool.Wait] holds.
const maxWaiters = 1000

// Pool is one cluster's upstreams. T is what the caller needs of one. All
// methods are safe for concurrent use.
type Pool[T any] struct {
	config  Config
	options Options
	clock   clock
	current atomic.Pointer[snapshot[T]]

	bindings bindings
	budget   budget
	turn     atomic.Uint64 // round robin

	mu sync.Mutex // serialises changes of the snapshot

	waiters  atomic.Int64
	waitMu   sync.Mutex
	improved chan struct{} // closed when something may have become eligible
}

// snapshot is the pool at one time; it is never changed.
type snapshot[T any] struct {
	entries  []*entry[T]
	tiers    [tiers][]*entry[T]
	eligible int
}

// NewPool returns a pool without members. The configuration must be valid.
// Set(nil) ends a pool: OnBreaker is not called any more.
func NewPool[T any](c Config, o Options) *Pool[T] {
	p := &Pool[T]{
		config:   c,
		options:  o,
		clock:    clock{start: time.Now()},
		budget:   newBudget(c.Retry.Budget),
		improved: make(chan struct{}),
	}
	if c.Policy == PolicySticky {
		p.bindings = newBindings()
	}
	p.current.Store(&snapshot[T]{})
	return p
}

// Set makes the given members the pool's; of two with one ID, the first counts.
// Those that stay, by ID, keep their counts, breakers, bindings, slow start and
// drain, and change their class as with SetClass.
func (p *Pool[T]) Set(members []Member[T]) {
	for _, m := range p.set(members) {
		m.breaker.renew()
	}
}

// set returns the members that are back.
func (p *Pool[T]) set(members []Member[T]) (back []*member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.current.Load().entries
	entries := make([]*entry[T], 0, len(members))
	classes := make([]Class, 0, len(members))
	for _, m := range members {
		if find(entries, m.ID) != nil {
			continue
		}
		e := &entry[T]{class: m.Class}
		if old := find(before, m.ID); old != nil {
			*e = *old
		} else {
			e.member = p.newMember(m.ID)
		}
		e.value = m.Value
		entries = append(entries, e)
		classes = append(classes, m.Class)
	}
	for i, e := range entries {
		if e.enter(classes[i], otherReady(entries, e), p.clock.now(), p.config.SlowStart) {
			back = append(back, e.member)
		}
	}
	p.publish(entries)
	return back
}

func (p *Pool[T]) newMember(id string) *member {
	m := &member{id: id}
	m.breaker = newBreaker(p.config.Breaker, p.clock, func(from, to BreakerState) {
		if p.rank(m) && p.options.OnBreaker != nil {
			p.options.OnBreaker(id, from, to)
		}
	})
	return m
}

// rank publishes a snapshot in which the members are ranked anew, after m's
// breaker has changed. It reports false if m is no longer one of them.
func (p *Pool[T]) rank(m *member) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	entries := p.current.Load().entries
	if e := find(entries, m.id); e == nil || e.member != m {
		return false
	}
	p.publish(entries)
	return true
}

// SetClass moves a member to a class. Slow start begins with the way from
// Down to Ready, if another member is Ready to carry the load meanwhile. A
// member that was Down or Misconfigured comes back with a closed breaker.
func (p *Pool[T]) SetClass(id string, class Class) {
	var back *member
	p.change(id, func(e *entry[T], all []*entry[T]) {
		if e.enter(class, otherReady(all, e), p.clock.now(), p.config.SlowStart) {
			back = e.member
		}
	})
	if back != nil {
		back.breaker.renew()
	}
}

// otherReady reports whether a member other than e's is in use as Ready.
func otherReady[T any](entries []*entry[T], e *entry[T]) bool {
	for _, other := range entries {
		if rank, ok := other.tier(); ok && rank == tierReady && other.member != e.member {
			return true
		}
	}
	return false
}

// Drain gives a member no new work while there is another, or ends that. What it
// has goes on.
func (p *Pool[T]) Drain(id string, on bool) {
	p.change(id, func(e *entry[T], _ []*entry[T]) { e.draining = on })
}

// change publishes a snapshot in which one entry is changed.
func (p *Pool[T]) change(id string, edit func(e *entry[T], all []*entry[T])) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.current.Load().entries
	entries := make([]*entry[T], len(old))
	for i, e := range old {
		entries[i] = e
		if e.id == id {
			edited := *e
			edit(&edited, old)
			entries[i] = &edited
		}
	}
	p.publish(entries)
}

// publish ranks the entries and wakes who waits. The caller holds the lock.
func (p *Pool[T]) publish(entries []*entry[T]) {
	s := &snapshot[T]{entries: entries}
	for _, e := range entries {
		if rank, ok := e.tier(); ok {
			s.tiers[rank] = append(s.tiers[rank], e)
			s.eligible++
		}
	}
	p.current.Store(s)
	p.waitMu.Lock()
	close(p.improved)
	p.improved = make(chan struct{})
	p.waitMu.Unlock()
}

// HalfOpenResult takes the result of an active probe of a member, which alone
// decides a half-open breaker. It is cheap, and meant for every probe; in the
// other states it changes nothing. Nor does the failure of a member that is out
// of use anyway: the time until it is tried again must not grow with the time
// that it was away.
func (p *Pool[T]) HalfOpenResult(id string, ok bool) {
	if e := find(p.current.Load().entries, id); e != nil && (ok || e.class < Down) {
		e.breaker.probe(ok)
	}
}

// Eligible is the number of members that requests may be sent to: those that
// are neither Down nor Misconfigured.
func (p *Pool[T]) Eligible() int { return p.current.Load().eligible }

// Breaker returns the state of a member's breaker; ok is false if there is no
// such member.
func (p *Pool[T]) Breaker(id string) (s BreakerState, ok bool) {
	e := find(p.current.Load().entries, id)
	if e == nil {
		return BreakerClosed, false
	}
	return e.breaker.state(), true
}

// Status describes every member, in the order of Set.
func (p *Pool[T]) Status() []MemberStatus {
	now := p.clock.now()
	entries := p.current.Load().entries
	status := make([]MemberStatus, 0, len(entries))
	for _, e := range entries {
		status = append(status, MemberStatus{
			ID: e.id, Draining: e.draining, Breaker: e.breaker.state(),
			InFlight: e.inFlight.Load(), Streams: e.streams.Load(),
			Weight: e.weight(now, p.config.SlowStart),
		})
	}
	return status
}

// Retry takes one retry from the budget and reports whether there was one. An
// exempt retry, of a request that no upstream has taken, costs nothing: it
// adds no load.
func (p *Pool[T]) Retry(exempt bool) bool { return exempt || p.budget.take(p.clock.now()) }

// stillWaiting is the time between two calls of Options.StillWaiting.
const stillWaiting = 250 * time.Millisecond

// Wait returns true as soon as a member is eligible, and false when ctx ends
// first or when 1000 requests wait already.
func (p *Pool[T]) Wait(ctx context.Context) bool {
	if p.Eligible() > 0 {
		return ctx.Err() == nil
	}
	if p.waiters.Add(1) > maxWaiters {
		p.waiters.Add(-1)
		return false
	}
	defer p.waiters.Add(-1)
	tick := time.NewTicker(stillWaiting)
	defer tick.Stop()
	for {
		p.waitMu.Lock()
		improved := p.improved
		p.waitMu.Unlock()
		if p.Eligible() > 0 {
			return ctx.Err() == nil
		}
		select {
		case <-improved:
		case <-tick.C:
			if p.options.StillWaiting != nil {
				p.options.StillWaiting()
			}
		case <-ctx.Done():
			return false
		}
	}
}
