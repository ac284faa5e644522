package daemon

import (
	"maps"
	"sync"
	"time"
)

const (
	// causeInterval is the least time between two log lines with the same
	// cause: each request may bring one.
	causeInterval = 10 * time.Second
	// maxCauses bounds the different causes that are logged in that time.
	maxCauses = 16
)

// causes decides which causes of refusals are logged. The zero value has seen
// none.
type causes struct {
	mu     sync.Mutex
	logged map[string]time.Time // when each was; guarded by mu
}

// due reports whether the cause is to be logged now.
func (c *causes) due(cause string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := func(_ string, at time.Time) bool { return now.Sub(at) >= causeInterval }
	if at, found := c.logged[cause]; found && !old(cause, at) {
		return false
	}
	maps.DeleteFunc(c.logged, old)
	if len(c.logged) >= maxCauses {
		return false
	}
	if c.logged == nil {
		c.logged = make(map[string]time.Time)
	}
	c.logged[cause] = now
	return true
}
