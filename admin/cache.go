package admin

import (
	"maps"
	"sync"
	"sync/atomic"
)

// cache keeps the series of each set of label values, so that the hot path never
// pays for Prometheus' own lookup. A hit is one map access without lock or
// allocation. New keys go to a second map under a mutex, which replaces the first
// when it has been asked as many times as it has keys: n keys cost O(n) copies in
// all, not O(n²).
type cache[K comparable, V any] struct {
	bind  func(K) V // makes the series; called once for each key
	limit int       // how many keys; more are folded
	fold  func(K) K // maps a key beyond the limit to one of a few that always fit

	front atomic.Pointer[map[K]V]

	mu     sync.Mutex
	back   map[K]V // guarded by mu; nil, or a superset of front
	misses int     // guarded by mu
}

func newCache[K comparable, V any](limit int, bind func(K) V, fold func(K) K) *cache[K, V] {
	c := &cache[K, V]{bind: bind, limit: limit, fold: fold}
	c.front.Store(&map[K]V{})
	return c
}

func (c *cache[K, V]) get(k K) V {
	if v, ok := (*c.front.Load())[k]; ok {
		return v
	}
	return c.slow(k)
}

func (c *cache[K, V]) slow(k K) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	front := *c.front.Load()
	known := c.back
	if known == nil {
		known = front
	}
	v, ok := known[k]
	if !ok && len(known) >= c.limit {
		k = c.fold(k)
		v, ok = known[k]
	}
	if !ok {
		if c.back == nil {
			c.back = make(map[K]V, 2*len(front)+1)
			maps.Copy(c.back, front)
		}
		v = c.bind(k)
		c.back[k] = v
	}
	if c.back != nil {
		if c.misses++; c.misses >= len(c.back) {
			back := c.back
			c.front.Store(&back)
			c.back, c.misses = nil, 0
		}
	}
	return v
}
