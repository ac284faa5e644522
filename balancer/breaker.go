package balancer

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerState is the state of a circuit breaker.
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

// breaker is one member's circuit breaker. gobreaker counts and decides; this
// type adds an open time that doubles, a half-open state that only a probe ends,
// and a fast path that does not take gobreaker's lock.
type breaker struct {
	config  BreakerConfig
	clock   clock
	changed func(from, to BreakerState) // one call at a time, in order, without the lock

	phase atomic.Uint32 // a phase

	// Successes come by the thousand and matter to the failure ratio alone,
	// unless they end a row of failures. So gobreaker is told of the first
	// success after a failure, and the others are counted here.
	successes window
	failing   atomic.Bool // the last outcome that gobreaker was told of was a failure

	mu      sync.Mutex
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	level   int           // how many times the open time has doubled
	relapse time.Duration // opening before this time counts as a relapse
	untold  []transition
	telling bool
}

type transition struct{ from, to BreakerState }

// phase is a state with the number of states that came before it. The outcome of
// an attempt that began in another phase says nothing about this one.
type phase uint32

func (p phase) state() BreakerState { return BreakerState(p & 3) }

func (p phase) next(s BreakerState) phase { return (p>>2+1)<<2 | phase(s) }

var errFailed = errors.New("failed")

func newBreaker(c BreakerConfig, k clock, changed func(from, to BreakerState)) *breaker {
	b := &breaker{config: c, clock: k, changed: changed, successes: newWindow(c.Window)}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     c.Window,
		BucketPeriod: time.Second,
		ReadyToTrip:  b.readyToTrip,
		// gobreaker's open time is fixed, and ours doubles. So gobreaker's is
		// over at once, and it is asked again only when ours is over.
		Timeout: time.Nanosecond,
	})
	return b
}

func (b *breaker) readyToTrip(n gobreaker.Counts) bool {
	if n.ConsecutiveFailures >= b.config.ConsecutiveFailures {
		return true
	}
	requests := uint64(n.Requests) + b.successes.sum(b.clock.now())
	return requests >= uint64(b.config.MinRequests) &&
		float64(n.TotalFailures) >= b.config.FailureRatio*float64(requests)
}

func (b *breaker) current() phase { return phase(b.phase.Load()) }

func (b *breaker) state() BreakerState { return b.current().state() }

// report counts the outcome of an attempt that began in the given phase.
func (b *breaker) report(began phase, o Outcome) {
	if o == Neutral || began.state() != BreakerClosed || began != b.current() {
		return
	}
	if o == Success && !b.failing.Load() {
		b.successes.add(b.clock.now())
		return
	}
	b.mu.Lock()
	if began != b.current() {
		b.mu.Unlock()
		return
	}
	b.pass(o == Success)
	b.failing.Store(o == Failure)
	tripped := b.circuit.State() != gobreaker.StateClosed
	if tripped {
		b.level++
		if b.clock.now() >= b.relapse {
			b.level = 0
		}
		b.open()
	}
	b.mu.Unlock()
	if tripped {
		b.tell()
	}
}

// probe takes the result of an active probe, which decides in the half-open
// state.
func (b *breaker) probe(ok bool) {
	if b.state() != BreakerHalfOpen {
		return
	}
	b.mu.Lock()
	if b.state() == BreakerHalfOpen {
		if ok {
			b.close()
		} else {
			b.pass(false)
			b.level++
			b.open()
		}
	}
	b.mu.Unlock()
	b.tell()
}

// renew closes the breaker of a member that was down and is back, as probes have
// shown: failures from before no longer say anything about it.
func (b *breaker) renew() {
	b.mu.Lock()
	if b.state() != BreakerClosed {
		b.close()
	}
	b.mu.Unlock()
	b.tell()
}

// close ends an open or half-open time. For gobreaker, whose own open time is
// long over, one success does that. The caller holds the lock.
func (b *breaker) close() {
	b.pass(true)
	b.relapse = b.clock.now() + b.config.MaxOpenFor
	b.successes.reset()
	b.failing.Store(false)
	b.become(BreakerClosed)
}

// pass takes one outcome through gobreaker. The caller holds the lock.
func (b *breaker) pass(ok bool) {
	done, err := b.circuit.Allow()
	switch {
	case err != nil: // not when it is closed, and not the first time when half-open
	case ok:
		done(nil)
	default:
		done(errFailed)
	}
}

// open begins an open time. The caller holds the lock.
func (b *breaker) open() {
	b.become(BreakerOpen)
	opened := b.current()
	time.AfterFunc(b.openTime(), func() {
		b.mu.Lock()
		if b.current() == opened { // not renewed meanwhile
			b.become(BreakerHalfOpen)
		}
		b.mu.Unlock()
		b.tell()
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
	return d - d/5 + rand.N(2*(d/5)+1)
}

// become changes the state. The caller holds the lock, and calls tell after.
func (b *breaker) become(to BreakerState) {
	from := b.current()
	b.phase.Store(uint32(from.next(to)))
	b.untold = append(b.untold, transition{from.state(), to})
}

// tell passes the changes on. One goroutine at a time does so, for all.
func (b *breaker) tell() {
	for {
		b.mu.Lock()
		if b.telling || len(b.untold) == 0 {
			b.mu.Unlock()
			return
		}
		t := b.untold[0]
		b.untold = b.untold[1:]
		b.telling = true
		b.mu.Unlock()

		b.changed(t.from, t.to)

		b.mu.Lock()
		b.telling = false
		b.mu.Unlock()
	}
}
