package balancer

import (
	"sync/atomic"
	"time"
)

// Member is one upstream as [Pool.Set] takes it.
type Member[T any] struct {
	ID    string
	Value T
	Class Class
}

// MemberStatus is one upstream as the status shows it.
type MemberStatus struct {
	ID       string
	Class    Class
	Draining bool
	Breaker  BreakerState
	InFlight int64 // short requests
	Streams  int64
	Weight   float64 // 1, or less during slow start
}

// member is what stays of an upstream over all changes of the pool.
type member struct {
	id       string
	breaker  *breaker
	inFlight atomic.Int64
	streams  atomic.Int64
}

// entry is a member in one snapshot of the pool.
type entry[T any] struct {
	*member
	value    T
	class    Class
	draining bool
	slowFrom time.Time // slow start began; zero: none
	wasDown  bool      // and not Ready since
}

// slowStartFloor is the weight at which slow start begins.
const slowStartFloor = 0.1

// weight is the share of the load that the entry should get: 1, or less
// during slow start.
func (e *entry[T]) weight(now time.Time, slowStart time.Duration) float64 {
	if e.slowFrom.IsZero() {
		return 1
	}
	elapsed := now.Sub(e.slowFrom)
	if elapsed >= slowStart {
		return 1
	}
	return slowStartFloor + (1-slowStartFloor)*float64(elapsed)/float64(slowStart)
}

// tier ranks the entry: lower is better. Members that are never used have none.
func (e *entry[T]) tier() (rank int, ok bool) {
	switch {
	case e.class >= Down:
		return 0, false
	case e.breaker.load() == BreakerOpen:
		return tierOpen, true
	case e.draining || e.class == Degraded:
		return tierDegraded, true
	case e.class == Suspect || e.breaker.load() == BreakerHalfOpen:
		return tierSuspect, true
	}
	return tierReady, true
}

// The tiers. What has an open breaker is used when there is nothing else: the
// last upstream is never ejected.
const (
	tierReady = iota
	tierSuspect
	tierDegraded
	tierOpen
	tiers
)
