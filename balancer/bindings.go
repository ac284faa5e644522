package balancer

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bindingShards = 16
	maxBindings   = 65536
	bindingIdle   = 5 * time.Minute
)

// bindings remember which member an identity is bound to. They are bounded
// and forget an identity that was idle for five minutes.
type bindings struct {
	seed   maphash.Seed
	last   atomic.Pointer[binding] // of the key used last: on a laptop, the only one
	shards [bindingShards]struct {
		mu    sync.RWMutex
		byKey map[string]*binding
	}
}

type binding struct {
	key  string
	id   atomic.Pointer[string]
	used atomic.Int64 // Unix seconds
}

func (b *bindings) hash(key string) uint64 { return maphash.String(b.seed, key) }

// get returns the ID that the key is bound to, "" if to none.
func (b *bindings) get(key string, now time.Time) string {
	bound := b.last.Load()
	if bound == nil || bound.key != key {
		s := &b.shards[b.hash(key)%bindingShards]
		s.mu.RLock()
		bound = s.byKey[key]
		s.mu.RUnlock()
		if bound == nil {
			return ""
		}
		b.last.Store(bound)
	}
	second := now.Unix()
	used := bound.used.Load()
	if used != second {
		bound.used.Store(second)
	}
	if time.Duration(second-used)*time.Second > bindingIdle {
		return ""
	}
	return *bound.id.Load()
}

// set binds the key.
func (b *bindings) set(key, id string, now time.Time) {
	s := &b.shards[b.hash(key)%bindingShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := s.byKey[key]
	if bound == nil {
		if s.byKey == nil {
			s.byKey = make(map[string]*binding)
		}
		if len(s.byKey) >= maxBindings/bindingShards {
			evict(s.byKey, now)
		}
		bound = &binding{key: key}
		s.byKey[key] = bound
	}
	bound.id.Store(&id)
	bound.used.Store(now.Unix())
}

// evict drops what is idle, or, when nothing is, one binding of no merit: its
// key is bound anew at its next request.
func evict(byKey map[string]*binding, now time.Time) {
	idle := now.Add(-bindingIdle).Unix()
	before := len(byKey)
	for key, bound := range byKey {
		if bound.used.Load() < idle {
			delete(byKey, key)
		}
	}
	if len(byKey) < before {
		return
	}
	for key := range byKey {
		delete(byKey, key)
		return
	}
}
