package balancer

import (
	"sync"
	"time"
)

// The budget's window, and the retries for each second of it that are allowed
// however little traffic there is.
const (
	budgetWindow = 10 * time.Second
	budgetFloor  = 3
)

// budget bounds retries to a share of the requests of the last ten seconds.
type budget struct {
	share    float64
	requests window

	mu      sync.Mutex // one take at a time
	retries window
}

func newBudget(share float64) budget {
	return budget{share: share, requests: newWindow(budgetWindow), retries: newWindow(budgetWindow)}
}

// take counts a retry, if the budget has one left.
func (b *budget) take(now time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	allowed := b.share*float64(b.requests.sum(now)) + budgetFloor*budgetWindow.Seconds()
	if float64(b.retries.sum(now)) >= allowed {
		return false
	}
	b.retries.add(now)
	return true
}
