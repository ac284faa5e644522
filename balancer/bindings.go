package balancer

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bindingSets = 2048 // a power of two
	bindingWays = 8    // one cache line of pointers
	bindingIdle = 5 * time.Minute
)

// bindings remember which member an identity is bound to. They are a
// set-associative cache of fixed size: a key belongs to one set, and the binding
// that has been idle the longest there gives way. Reading takes no lock.
type bindings struct {
	seed maphash.Seed
	sets *[bindingSets]bindingSet
	mu   sync.Mutex // serialises bind
}

type bindingSet [bindingWays]atomic.Pointer[binding]

// binding is one key's. It is replaced, never changed.
type binding struct {
	key, id string
	used    atomic.Int64 // a time.Duration of the pool's clock
}

func newBindings() bindings {
	return bindings{seed: maphash.MakeSeed(), sets: new([bindingSets]bindingSet)}
}

func (b *bindings) set(key string) *bindingSet {
	return &b.sets[maphash.String(b.seed, key)%bindingSets]
}

// get returns the ID that the key is bound to; "" if there is none or if it was
// not used for five minutes. A get is a use.
func (b *bindings) get(key string, now time.Duration) (id string) {
	return use(b.set(key).find(key), now)
}

// bind binds key to id if it is still bound to was, and returns the binding in
// force.
func (b *bindings) bind(key, was, id string, now time.Duration) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	set := b.set(key)
	place := 0
	for i := range set {
		bound := set[i].Load()
		if bound == nil {
			place = i
			break
		}
		if bound.key == key {
			if is := use(bound, now); is != was {
				return is
			}
			place = i
			break
		}
		if bound.used.Load() < set[place].Load().used.Load() {
			place = i
		}
	}
	bound := &binding{key: key, id: id}
	bound.used.Store(int64(now))
	set[place].Store(bound)
	return id
}

func (s *bindingSet) find(key string) *binding {
	for i := range s {
		bound := s[i].Load()
		if bound == nil {
			break // places are filled in order and never emptied
		}
		if bound.key == key {
			return bound
		}
	}
	return nil
}

func use(bound *binding, now time.Duration) (id string) {
	if bound == nil {
		return ""
	}
	idle := now - time.Duration(bound.used.Load())
	if idle > bindingIdle {
		return ""
	}
	if idle >= time.Second { // a finer time is not worth a write to shared memory
		bound.used.Store(int64(now))
	}
	return bound.id
}
