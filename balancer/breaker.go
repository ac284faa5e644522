package balancer

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerState is a circuit breaker's.
type BreakerState uint8

// The states of a circuit breaker.
const (
	BreakerClosed BreakerState = iota
	BreakerHalfOpen
	BreakerOpen
)

// String names the state as logs, metrics and the status do.
func (s BreakerState) String() string {
	names := [...]string{"closed", "half-open", "open"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// bucketPeriod is the grain of a breaker's rolling window.
const bucketPeriod = time.Second

// breaker is one member's circuit breaker. gobreaker keeps the counts and the
// states; this type adds what it leaves to its users: an open time that
// doubles, and a half-open state that only a probe ends.
type breaker struct {
	config  BreakerConfig
	changed func(from, to BreakerState) // called without the lock

	// state and generation mirror the breaker for readers without the lock.
	state      atomic.Uint32
	generation atomic.Uint32 // grows with every change of state

	mu       sync.Mutex
	circuit  *gobreaker.TwoStepCircuitBreaker[struct{}]
	level    int // how often it opened without a healthy time in between
	closedAt time.Time
}

var errFailed = errors.New("failed")

func newBreaker(c BreakerConfig, changed func(from, to BreakerState)) *breaker {
	b := &breaker{config: c, changed: changed}
	b.circuit = b.newCircuit(false)
	return b
}

// newCircuit returns a closed circuit whose open time suits the level.
// gobreaker's open time is fixed once it is made. With tripped the first
// failure opens it.
func (b *breaker) newCircuit(tripped bool) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	c := b.config
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     c.Window,
		BucketPeriod: bucketPeriod,
		Timeout:      b.openTime(),
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return tripped || n.ConsecutiveFailures >= c.ConsecutiveFailures ||
				n.Requests >= c.MinRequests && float64(n.TotalFailures) >= c.FailureRatio*float64(n.Requests)
		},
	})
}

// openTime is OpenFor, doubled for each level up to MaxOpenFor, ± 20 %.
func (b *breaker) openTime() time.Duration {
	d := b.config.OpenFor
	for range b.level {
		if d >= b.config.MaxOpenFor {
			break
		}
		d *= 2
	}
	d = min(d, b.config.MaxOpenFor)
	return d - d/5 + rand.N(2*d/5+1)
}

func (b *breaker) load() BreakerState { return BreakerState(b.state.Load()) }

// report counts an outcome of an attempt that began in the given generation.
// Outcomes from before a change of state say nothing about the time after it.
func (b *breaker) report(generation uint32, o Outcome) {
	if o == Neutral || b.load() != BreakerClosed || b.generation.Load() != generation {
		return
	}
	b.mu.Lock()
	if b.load() != BreakerClosed || b.generation.Load() != generation {
		b.mu.Unlock()
		return
	}
	tripped := false
	if done, err := b.circuit.Allow(); err == nil {
		if o == Failure {
			done(errFailed)
		} else {
			done(nil)
		}
		tripped = b.circuit.State() == gobreaker.StateOpen
	}
	if tripped {
		b.store(BreakerOpen)
	}
	b.mu.Unlock()
	if tripped {
		b.changed(BreakerClosed, BreakerOpen)
	}
}

// probe takes the result of an active probe. In the half-open state, into
// which an open breaker falls when its time is over, it decides.
func (b *breaker) probe(ok bool) {
	b.mu.Lock()
	var changes []BreakerState
	switch b.circuit.State() {
	case gobreaker.StateClosed:
		if b.level > 0 && ok && time.Since(b.closedAt) >= b.config.MaxOpenFor {
			b.level = 0
			b.circuit = b.newCircuit(false)
		}
	case gobreaker.StateHalfOpen:
		changes = append(changes, BreakerHalfOpen)
		b.level++
		if ok {
			b.closedAt = time.Now()
			b.circuit = b.newCircuit(false)
			changes = append(changes, BreakerClosed)
			break
		}
		b.circuit = b.newCircuit(true)
		if done, err := b.circuit.Allow(); err == nil {
			done(errFailed)
		}
		changes = append(changes, BreakerOpen)
	case gobreaker.StateOpen:
	}
	from := b.load()
	for _, to := range changes {
		b.store(to)
	}
	b.mu.Unlock()
	for _, to := range changes {
		b.changed(from, to)
		from = to
	}
}

func (b *breaker) store(s BreakerState) {
	b.generation.Add(1)
	b.state.Store(uint32(s))
}
