package balancer

import (
	"math/rand/v2"
	"time"
)

// Attempt is one request's use of one upstream. Report and Done are each
// called exactly once, in either order.
type Attempt[T any] struct {
	entry      *entry[T]
	generation uint32 // of the breaker
	stream     bool
}

// ID is the upstream's.
func (a Attempt[T]) ID() string { return a.entry.id }

// Value is what the pool holds of the upstream.
func (a Attempt[T]) Value() T { return a.entry.value }

// Report tells the circuit breaker how the attempt went: a stream at its
// response headers, a short request at its end.
func (a Attempt[T]) Report(o Outcome) { a.entry.breaker.report(a.generation, o) }

// Done ends the attempt: it is no longer in flight.
func (a Attempt[T]) Done() {
	if a.stream {
		a.entry.streams.Add(-1)
	} else {
		a.entry.inFlight.Add(-1)
	}
}

// Pick chooses an upstream of the best class that the request was not sent to
// yet, and counts it as in flight there. It reports false when there is none.
func (p *Pool[T]) Pick(r Request) (Attempt[T], bool) {
	now := time.Now()
	if len(r.Tried) == 0 {
		p.budget.requests.add(now)
	}
	s := p.current.Load()
	var buf [16]*entry[T]
	for _, tier := range &s.tiers {
		candidates := tier
		if len(r.Tried) > 0 {
			candidates = buf[:0]
			for _, e := range tier {
				if !r.tried(e.id) {
					candidates = append(candidates, e)
				}
			}
		}
		if len(candidates) == 0 {
			continue
		}
		e := candidates[0]
		if len(candidates) > 1 || p.config.Policy == PolicySticky {
			e = p.choose(candidates, &r, now)
		}
		a := Attempt[T]{entry: e, generation: e.breaker.generation.Load(), stream: r.Kind.Stream()}
		if a.stream {
			e.streams.Add(1)
		} else {
			e.inFlight.Add(1)
		}
		return a, true
	}
	return Attempt[T]{}, false
}

func (p *Pool[T]) choose(c []*entry[T], r *Request, now time.Time) *entry[T] {
	switch p.config.Policy {
	case PolicyRandom:
		return p.warm(c, now, func() *entry[T] { return c[rand.IntN(len(c))] })
	case PolicyRoundRobin:
		return p.warm(c, now, func() *entry[T] { return c[(p.turn.Add(1)-1)%uint64(len(c))] })
	case PolicyLeastRequest:
		return p.lessLoaded(c, nil, r, now)
	case PolicySticky:
	}
	return p.sticky(c, r, now)
}

// warm draws again from an entry in slow start as often as its weight is
// small.
func (p *Pool[T]) warm(c []*entry[T], now time.Time, draw func() *entry[T]) *entry[T] {
	var e *entry[T]
	for range 2 * len(c) {
		e = draw()
		if e.slowFrom.IsZero() || rand.Float64() < e.weight(now, p.config.SlowStart) {
			break
		}
	}
	return e
}

// spillFactor is how far above the mean load a bound upstream may be.
const spillFactor = 1.25

// sticky returns the upstream that the key is bound to, or binds it to one.
// Under load it lets what may move spill over.
func (p *Pool[T]) sticky(c []*entry[T], r *Request, now time.Time) *entry[T] {
	if r.Kind == Upgrade {
		return p.lessLoaded(c, nil, r, now) // a tunnel is no reader of caches
	}
	bound := find(c, p.bindings.get(r.Key, now))
	if bound == nil {
		bound = p.lessLoaded(c, nil, r, now)
		if len(r.Tried) == 0 {
			p.bindings.set(r.Key, bound.id, now)
		}
		return bound
	}
	if len(c) == 1 || !r.Kind.spills() {
		return bound
	}
	total := int64(1)
	for _, e := range c {
		total += e.inFlight.Load()
	}
	limit := spillFactor * float64(total) / float64(len(c)) * bound.weight(now, p.config.SlowStart)
	mine := bound.inFlight.Load()
	if mine == 0 || float64(mine) < limit {
		return bound // with it: at most the limit, rounded up
	}
	if other := p.lessLoaded(c, bound, r, now); other.inFlight.Load() < mine {
		return other
	}
	return bound
}

func find[T any](c []*entry[T], id string) *entry[T] {
	if id == "" {
		return nil
	}
	for _, e := range c {
		if e.id == id {
			return e
		}
	}
	return nil
}

// lessLoaded takes two candidates by chance, other than the excepted one, and
// returns that with the lower load for its weight. Among equals the sticky
// policy prefers the same for one key, in every pool that has these members.
func (p *Pool[T]) lessLoaded(c []*entry[T], except *entry[T], r *Request, now time.Time) *entry[T] {
	n := len(c)
	skip := n // index of the excepted one
	for i, e := range c {
		if e == except {
			skip = i
			n--
		}
	}
	at := func(i int) *entry[T] {
		if i >= skip {
			i++
		}
		return c[i]
	}
	switch {
	case n == 0:
		return except
	case n == 1:
		return at(0)
	}
	i := rand.IntN(n)
	j := rand.IntN(n - 1)
	if j >= i {
		j++
	}
	a, b := at(i), at(j)
	la, lb := p.load(a, r.Kind, now), p.load(b, r.Kind, now)
	switch {
	case la < lb:
		return a
	case lb < la:
		return b
	case p.config.Policy == PolicySticky && r.Kind != Upgrade && except == nil:
		return preferred(c, r.Key, func(e *entry[T]) bool { return p.load(e, r.Kind, now) <= la })
	}
	return a
}

// load is what an entry carries for its weight, with one more request.
func (p *Pool[T]) load(e *entry[T], k Kind, now time.Time) float64 {
	n := e.inFlight.Load()
	if k.Stream() {
		n = e.streams.Load()
	}
	return float64(n+1) / e.weight(now, p.config.SlowStart)
}

// preferred is the eligible candidate with the highest hash of key and ID
// (rendezvous hashing), the same in every process.
func preferred[T any](c []*entry[T], key string, eligible func(*entry[T]) bool) *entry[T] {
	var best *entry[T]
	var highest uint64
	for _, e := range c {
		if !eligible(e) {
			continue
		}
		if h := rendezvous(key, e.id); best == nil || h > highest {
			best, highest = e, h
		}
	}
	return best
}

// rendezvous is FNV-1a over key and ID, mixed once more.
func rendezvous(key, id string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{key, "\x00", id} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
