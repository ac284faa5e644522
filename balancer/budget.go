package balancer

import (
	"sync/atomic"
	"time"
)

// The budget's window, in buckets of a second, and the retries that are
// allowed in each second of it however little traffic there is.
const (
	budgetSeconds = 10
	budgetFloor   = 3
)

// budget bounds retries to a share of the requests of the last ten seconds.
type budget struct {
	share    float64
	requests window
	retries  window
}

// take counts a retry, if the budget has one left.
func (b *budget) take(now time.Time) bool {
	allowed := b.share*float64(b.requests.sum(now)) + budgetFloor*budgetSeconds
	if float64(b.retries.sum(now)) >= allowed {
		return false
	}
	b.retries.add(now)
	return true
}

// window counts events of the last ten seconds without a lock. Two goroutines
// that enter a new second together may lose a count, which does no harm.
type window struct {
	buckets [budgetSeconds]struct {
		second atomic.Int64
		n      atomic.Int64
	}
}

func (w *window) add(now time.Time) {
	second := now.Unix()
	b := &w.buckets[second%budgetSeconds]
	if old := b.second.Load(); old != second && b.second.CompareAndSwap(old, second) {
		b.n.Store(0)
	}
	b.n.Add(1)
}

func (w *window) sum(now time.Time) (n int64) {
	second := now.Unix()
	for i := range w.buckets {
		if b := &w.buckets[i]; second-b.second.Load() < budgetSeconds {
			n += b.n.Load()
		}
	}
	return n
}
