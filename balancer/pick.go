package balancer

import "time"

// Attempt is one request's use of one upstream. Report and Done are each
// called exactly once, in either order.
type Attempt[T any] struct {
	entry  *entry[T]
	began  phase // of the breaker
	stream bool
}

// ID is the upstream's.
func (a Attempt[T]) ID() string { return a.entry.id }

// Value is the upstream's, from [Pool.Set].
func (a Attempt[T]) Value() T { return a.entry.value }

// Report tells the circuit breaker how the attempt went: a stream at its
// response headers, a short request at its end. The breaker ignores it if its
// state has changed since Pick.
func (a Attempt[T]) Report(o Outcome) { a.entry.breaker.report(a.began, o) }

// Done ends the attempt: it is no longer in flight.
func (a Attempt[T]) Done() { a.entry.count(a.stream).Add(-1) }

// Pick chooses, from the upstreams that the request was not sent to yet, one of
// the best class, and counts the request as in flight there. It reports false
// when there is none.
func (p *Pool[T]) Pick(r Request) (Attempt[T], bool) {
	now := p.clock.now()
	if len(r.Tried) == 0 {
		p.budget.requests.add(now)
	}
	s := p.current.Load()
	var buf [8]*entry[T]
	for _, candidates := range &s.tiers {
		if len(r.Tried) > 0 {
			candidates = untried(buf[:0], candidates, &r)
		}
		if len(candidates) == 0 {
			continue
		}
		e := p.choose(candidates, &r, now)
		a := Attempt[T]{entry: e, began: e.breaker.current(), stream: r.Kind.Stream()}
		e.count(a.stream).Add(1)
		return a, true
	}
	return Attempt[T]{}, false
}

// untried appends to buf the entries that the request was not sent to yet.
func untried[T any](buf, entries []*entry[T], r *Request) []*entry[T] {
	for _, e := range entries {
		if !r.tried(e.id) {
			buf = append(buf, e)
		}
	}
	return buf
}

// choose applies the policy to candidates that are of one tier.
func (p *Pool[T]) choose(c []*entry[T], r *Request, now time.Duration) *entry[T] {
	switch p.config.Policy {
	case PolicyRandom, PolicyRoundRobin:
		return p.draw(c, now)
	case PolicyLeastRequest:
		return p.lessLoaded(c, r.Kind.Stream(), now)
	case PolicySticky:
	}
	return p.sticky(c, r, now)
}
