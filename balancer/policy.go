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
		bound = p.place(c, r.Key, now)
		if len(r.Tried) > 0 {
			return bound // for this once
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

// spill returns the bound entry, unless that would get more than 1.25 times
// its share of the short requests: then the least loaded of the others.
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
		return bound // with one more: at most that, rounded up
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

// place chooses the upstream that a key is bound to: by the power of two
// choices on short requests, for the streams on a server say how long it has
// been up. Of those that are no worse it takes the one that every pool of the
// same seed takes for this key.
func (p *Pool[T]) place(c []*entry[T], key string, now time.Duration) *entry[T] {
	best := p.lessLoaded(c, false, now)
	enough, highest := p.load(best, false, now), rendezvous(p.options.Seed, key, best.id)
	for _, e := range c {
		if e == best || p.load(e, false, now) > enough {
			continue
		}
		if h := rendezvous(p.options.Seed, key, e.id); h > highest {
			best, highest = e, h
		}
	}
	return best
}

// lessLoaded takes two candidates by chance and returns that with the lower
// load for its weight.
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

// draw takes a candidate by chance or in turn, and another in place of one in
// slow start as often as its weight is small.
func (p *Pool[T]) draw(c []*entry[T], now time.Duration) *entry[T] {
	var e *entry[T]
	for range 4 * len(c) { // an end, if all of them are in slow start
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

// rendezvous is the rank of a member for a key: FNV-1a over both, mixed once
// more (highest random weight hashing, after Thaler and Ravishankar, 1998).
func rendezvous(seed uint64, key, id string) uint64 {
	h := seed ^ 14695981039346656037
	for _, s := range [...]string{key, "\x00", id} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
