package balancer

import (
	"sync/atomic"
	"time"
)

// window counts, without a lock, the events of as many of the last seconds as it
// has buckets, the current second included.
type window []bucket

// bucket holds a second in its upper half and that second's events in its
// lower half, so that a new second and its first event are one change.
type bucket struct{ atomic.Uint64 }

const secondShift = 32

// newWindow returns a window of d, rounded up to whole seconds.
func newWindow(d time.Duration) window {
	return make(window, max(1, (d+time.Second-1)/time.Second))
}

func (w window) add(now time.Duration) {
	second := uint64(now / time.Second)
	b := &w[second%uint64(len(w))]
	for {
		old := b.Load()
		switch {
		case old>>secondShift == second:
			b.Add(1) // in the next second, if that has begun meanwhile
			return
		case old>>secondShift > second:
			return // the window has moved on
		case b.CompareAndSwap(old, second<<secondShift|1):
			return
		}
	}
}

func (w window) sum(now time.Duration) (n uint64) {
	second := uint64(now / time.Second)
	for i := range w {
		b := w[i].Load()
		if second-b>>secondShift < uint64(len(w)) { // one of the future wraps around
			n += b & (1<<secondShift - 1)
		}
	}
	return n
}

// reset forgets everything.
func (w window) reset() {
	for i := range w {
		w[i].Store(0)
	}
}
