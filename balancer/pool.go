package balancer

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Options are a pool's callbacks.
type Options struct {
	// OnBreaker hears every change of a breaker's state; may be nil.
	OnBreaker func(id string, from, to BreakerState)
	// MaxWaiters bounds how many requests [Pool.Wait] holds. Default 1000.
	MaxWaiters int
}

// Pool is one cluster's upstreams. T is what the caller needs of one. All
// methods are safe for concurrent use.
type Pool[T any] struct {
	config   Config
	options  Options
	current  atomic.Pointer[snapshot[T]]
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

// NewPool returns a pool without members.
func NewPool[T any](c Config, o Options) *Pool[T] {
	if o.MaxWaiters == 0 {
		o.MaxWaiters = 1000
	}
	p := &Pool[T]{
		config:   c,
		options:  o,
		improved: make(chan struct{}),
		budget:   budget{share: c.Retry.Budget},
	}
	p.bindings.seed = maphash.MakeSeed()
	p.current.Store(&snapshot[T]{})
	return p
}

// Set makes the given members the pool's. Those that stay, by ID, keep their
// counts, breakers, bindings, slow start and drain.
func (p *Pool[T]) Set(members []Member[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := make(map[string]*entry[T])
	for _, e := range p.current.Load().entries {
		before[e.id] = e
	}
	entries := make([]*entry[T], 0, len(members))
	kept := make(map[string]*member, len(members))
	for _, m := range members {
		if kept[m.ID] != nil {
			continue
		}
		e := &entry[T]{value: m.Value, class: m.Class}
		if old := before[m.ID]; old != nil {
			e.member, e.draining, e.slowFrom, e.wasDown = old.member, old.draining, old.slowFrom, old.wasDown
		} else {
			e.member = p.newMember(m.ID)
		}
		kept[m.ID] = e.member
		entries = append(entries, e)
	}
	p.publish(entries)
}

func (p *Pool[T]) newMember(id string) *member {
	return &member{id: id, breaker: newBreaker(p.config.Breaker, func(from, to BreakerState) {
		p.change("", nil) // the ranking is another
		if p.options.OnBreaker != nil {
			p.options.OnBreaker(id, from, to)
		}
	})}
}

// SetClass moves a member to a class. Slow start begins with the way from
// Down to Ready, if another member is Ready to carry the load meanwhile.
func (p *Pool[T]) SetClass(id string, class Class) {
	p.change(id, func(e *entry[T], others []*entry[T]) {
		from := e.class
		e.class = class
		switch {
		case class == Down:
			e.slowFrom = time.Time{}
			e.wasDown = true
		case class == Ready && from != Ready && e.wasDown:
			e.wasDown = false
			if p.config.SlowStart > 0 && anyReady(others, id) {
				e.slowFrom = time.Now()
			}
		}
	})
}

func anyReady[T any](entries []*entry[T], except string) bool {
	for _, e := range entries {
		if e.id != except && e.class == Ready {
			return true
		}
	}
	return false
}

// Drain switches new work to a member off or on; what it has goes on.
func (p *Pool[T]) Drain(id string, on bool) {
	p.change(id, func(e *entry[T], _ []*entry[T]) { e.draining = on })
}

// change publishes a snapshot in which one entry is changed; with an empty ID
// the ranking alone is made anew.
func (p *Pool[T]) change(id string, edit func(e *entry[T], all []*entry[T])) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.current.Load().entries
	entries := make([]*entry[T], len(old))
	for i, e := range old {
		entries[i] = e
		if id != "" && e.id == id {
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

// HalfOpenResult takes the result of an active probe of a member: the only
// thing that closes an open breaker. It is cheap, and meant for every probe.
func (p *Pool[T]) HalfOpenResult(id string, ok bool) {
	for _, e := range p.current.Load().entries {
		if e.id == id {
			e.breaker.probe(ok)
			return
		}
	}
}

// Eligible is the number of members that requests may be sent to.
func (p *Pool[T]) Eligible() int { return p.current.Load().eligible }

// Status describes every member, in the order of Set.
func (p *Pool[T]) Status() []MemberStatus {
	now := time.Now()
	entries := p.current.Load().entries
	status := make([]MemberStatus, 0, len(entries))
	for _, e := range entries {
		status = append(status, MemberStatus{
			ID: e.id, Class: e.class, Draining: e.draining, Breaker: e.breaker.load(),
			InFlight: e.inFlight.Load(), Streams: e.streams.Load(),
			Weight: e.weight(now, p.config.SlowStart),
		})
	}
	return status
}

// Retry takes one retry from the budget and says whether there was one. An
// exempt retry, of a request that no upstream has taken, costs nothing: it
// adds no load.
func (p *Pool[T]) Retry(exempt bool) bool { return exempt || p.budget.take(time.Now()) }

// Wait returns true as soon as a member is eligible, and false when ctx ends
// first or too many wait already.
func (p *Pool[T]) Wait(ctx context.Context) bool {
	if p.waiters.Add(1) > int64(p.options.MaxWaiters) {
		p.waiters.Add(-1)
		return false
	}
	defer p.waiters.Add(-1)
	for {
		p.waitMu.Lock()
		improved := p.improved
		p.waitMu.Unlock()
		if p.Eligible() > 0 {
			return ctx.Err() == nil
		}
		select {
		case <-improved:
		case <-ctx.Done():
			return false
		}
	}
}
