package balancer

import (
	"math/rand/v2"
	"time"
)

// spillFactor is how far above the mean load a bound upstream may be.
const spillFactor = 1.25

// sticky returns the upstream that the key is bound to, or binds it to one.
// Under load it lets what may move spill over.
func (p *Pool[T]) sticky(c []*entry[T], r *Request, now time.Duration) *entry[T] {
	if r.Kind == Upgrade {
		return p.lessLoaded(c, true, now) // a tunnel is no reader of caches
	}
	id := p.bindings.get(r.Key, now)
	bound := find(c, id)
	if bound == nil {
		// By short requests: the number of streams only shows how long a server
		// has been up.
		bound = p.lessLoaded(c, false, now)
		if len(r.Tried) > 0 {
			return bound // for this request alone
		}
		id = p.bindings.bind(r.Key, id, bound.id, now)
		if first := find(c, id); first != nil {
			bound = first
		}
	}
	if r.Kind.spills() && len(c) > 1 {
		return p.spill(c, bound, now)
	}
	return bound
}

func find[T any](c []*entry[T], id string) *entry[T] {
	for _, e := range c {
		if e.id == id {
			return e
		}
	}
	return nil
}

// spill returns the bound entry, unless it would then have more than 1.25 times
// its share of the short requests: then the least loaded one.
func (p *Pool[T]) spill(c []*entry[T], bound *entry[T], now time.Duration) *entry[T] {
	mine := bound.inFlight.Load()
	if mine == 0 {
		return bound
	}
	total, weights := int64(1), 0.0
	for _, e := range c {
		total += e.inFlight.Load()
		weights += e.weight(now, p.config.SlowStart)
	}
	if float64(mine) < spillFactor*float64(total)*bound.weight(now, p.config.SlowStart)/weights {
		return bound // with this request: at most that, rounded up
	}
	least, lowest := bound, p.load(bound, false, now)
	skip := rand.IntN(len(c)) // not always the first among equals
	for i := range c {
		e := c[(i+skip)%len(c)]
		if load := p.load(e, false, now); load < lowest {
			least, lowest = e, load
		}
	}
	return least
}

// lessLoaded draws two candidates and returns the one with the lower load for
// its weight (the power of two choices).
func (p *Pool[T]) lessLoaded(c []*entry[T], streams bool, now time.Duration) *entry[T] {
	if len(c) == 1 {
		return c[0]
	}
	i, j := rand.IntN(len(c)), rand.IntN(len(c)-1)
	if j >= i {
		j++
	}
	if p.load(c[j], streams, now) < p.load(c[i], streams, now) {
		return c[j]
	}
	return c[i]
}

// load is what an entry carries for its weight, with one more of the kind.
func (p *Pool[T]) load(e *entry[T], streams bool, now time.Duration) float64 {
	return float64(e.count(streams).Load()+1) / e.weight(now, p.config.SlowStart)
}

// draw takes a candidate by chance or in turn. One in slow start is taken with
// the probability that is its weight; otherwise the next one is drawn.
func (p *Pool[T]) draw(c []*entry[T], now time.Duration) *entry[T] {
	var e *entry[T]
	for range 4 * len(c) { // bounded, as all of them may be in slow start
		if p.config.Policy == PolicyRoundRobin {
			e = c[(p.turn.Add(1)-1)%uint64(len(c))]
		} else {
			e = c[rand.IntN(len(c))]
		}
		if w := e.weight(now, p.config.SlowStart); w == 1 || rand.Float64() < w {
			break
		}
	}
	return e
}
