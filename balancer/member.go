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
	Draining bool
	Breaker  BreakerState
	InFlight int64 // short requests
	Streams  int64
	Weight   float64 // 1, or less during slow start
}

// member is the part of an upstream that outlives changes of the pool.
type member struct {
	id       string
	breaker  *breaker
	inFlight atomic.Int64
	streams  atomic.Int64
}

func (m *member) count(stream bool) *atomic.Int64 {
	if stream {
		return &m.streams
	}
	return &m.inFlight
}

// entry is a member in one snapshot of the pool. It does not change once the
// snapshot is published.
type entry[T any] struct {
	*member
	value     T
	class     Class
	draining  bool
	wasDown   bool          // and not Ready since
	slowUntil time.Duration // end of slow start
}

// enter moves the entry to a class. Slow start begins on the way from Down to
// Ready, whatever lies in between, if others carry the load meanwhile. It reports
// whether the member is back: eligible now, and not before.
func (e *entry[T]) enter(class Class, others bool, now, slowStart time.Duration) (back bool) {
	back = e.class >= Down && class < Down
	switch {
	case class == e.class:
	case class == Down:
		e.wasDown, e.slowUntil = true, 0
	case class == Ready && e.wasDown:
		e.wasDown = false
		if others {
			e.slowUntil = now + slowStart
		}
	}
	e.class = class
	return back
}

// slowStartFloor is the weight at which slow start begins.
const slowStartFloor = 0.1

// weight is the share of the load that the entry should get: 1, or less
// during slow start.
func (e *entry[T]) weight(now, slowStart time.Duration) float64 {
	if now >= e.slowUntil {
		return 1
	}
	return 1 - (1-slowStartFloor)*float64(e.slowUntil-now)/float64(slowStart)
}

// The tiers, best first. A member with an open breaker is used when there is
// nothing else: the last upstream is never ejected.
const (
	tierReady = iota
	tierSuspect
	tierDegraded
	tierOpen
	tiers
)

// tier ranks the entry: lower is better. ok is false for a member that gets
// nothing.
func (e *entry[T]) tier() (rank int, ok bool) {
	state := e.breaker.state()
	switch {
	case e.class >= Down:
		return 0, false
	case state == BreakerOpen:
		return tierOpen, true
	case e.draining || e.class == Degraded:
		return tierDegraded, true
	case e.class == Suspect || state == BreakerHalfOpen:
		return tierSuspect, true
	}
	return tierReady, true
}
