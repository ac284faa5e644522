package health

import (
	"slices"
	"strings"
	"time"
)

const (
	// connectThreshold is how many refused or unreachable samples make DOWN:
	// a kernel's "no" is worth more than silence.
	connectThreshold = 2

	transitionInterval = 500 * time.Millisecond
	recheckInterval    = 250 * time.Millisecond // after a first refusal

	// A restarted server should be back quickly, and a dead one cost little.
	backoffFirst = 500 * time.Millisecond
	backoffEarly = 2 * time.Second
	backoffMax   = 10 * time.Second
	earlyPhase   = 30 * time.Second

	// A server that stays red (a broken post-start hook) is not in transition.
	settlePhase = 30 * time.Second

	jitterRatio = 0.2
)

// machine is the state machine of one target. It knows neither goroutines nor
// clocks: samples go in with their time, transitions come out.
type machine struct {
	id     string
	config Config

	state  State
	since  time.Time
	reason string
	cause  ResultKind

	judged   bool // a transition happened: no longer the initial guess
	passes   int
	failures int // samples without an answer, in a row
	connects int // of these, refused or unreachable ones at the end
	reds     int // answers that were not a pass, in a row
	deaths   int // of these, with /livez failing too

	redSince time.Time // when the first of reds was asked for
	checks   []string  // failing checks of the latest red answer
	last     ResultKind
	backoff  time.Duration

	out []Transition
}

func newMachine(t Target, c Config, now time.Time) machine {
	return machine{id: t.ID, config: c, state: t.Initial, since: now, reason: "not probed yet", backoff: backoffFirst}
}

// take returns the transitions since the last call.
func (m *machine) take() []Transition {
	out := m.out
	m.out = nil
	return out
}

func (m *machine) become(to State, cause ResultKind, reason string, now time.Time) {
	m.reason = reason
	if to == m.state {
		return
	}
	m.out = append(m.out, Transition{ID: m.id, From: m.state, To: to, Reason: reason, Cause: cause})
	m.state, m.since, m.cause = to, now, cause
	m.judged = true
	m.backoff = backoffFirst
}

// sample takes in a probe's result or a passive observation: the probe began at
// started, and now is when the sample is known.
func (m *machine) sample(kind ResultKind, checks []string, reason string, started, now time.Time, v view) {
	m.count(kind, checks, started)
	switch kind {
	case Pass:
		if m.state == Ready || !m.judged || m.passes >= m.config.HealthyThreshold || (!m.state.usable() && !v.usable) {
			m.become(Ready, kind, reason, now)
		}
	case NotReady, ShuttingDown:
		// A server that comes back answers red while it starts, and forbids
		// everything until its authoriser is set up, so it gets no requests
		// yet. If it stays red, alive decides.
		if m.state != Down {
			m.become(Degraded, kind, reason, now)
		} else {
			m.reason = reason
		}
	case Certificate, Credential, WrongCluster:
		m.become(Misconfigured, kind, reason, now)
	case Local:
	default:
		switch {
		case m.failures >= m.config.UnhealthyThreshold, m.connects >= connectThreshold:
			m.become(Down, kind, reason, now)
		case m.state == Ready:
			m.become(Suspect, kind, reason, now)
		case m.state != Misconfigured:
			m.reason = reason
		}
	}
}

func (m *machine) count(kind ResultKind, checks []string, started time.Time) {
	if kind == Local {
		return
	}
	defer func() { m.last = kind }()
	if kind != Pass {
		m.passes = 0
	}
	switch kind {
	case Pass:
		m.passes++
		m.failures, m.connects, m.reds, m.deaths = 0, 0, 0, 0
		m.checks = nil
	case NotReady, ShuttingDown:
		if m.reds == 0 {
			m.redSince = started
		}
		m.reds++
		m.failures, m.connects = 0, 0
		m.checks = checks
	default:
		if m.wasMisconfigured(kind) {
			m.failures = 0
		}
		m.reds = 0
		m.failures++
		if kind == Refused || kind == Unreachable {
			m.connects++
		} else {
			m.connects = 0
		}
	}
}

// wasMisconfigured reports whether a sample of another kind ends a run of refused
// handshakes or credentials: those are answers, not steps towards DOWN.
func (m *machine) wasMisconfigured(kind ResultKind) bool {
	return kind != m.last && (m.last == Certificate || m.last == Credential || m.last == WrongCluster)
}

// alive takes in what /livez said after a red sample.
func (m *machine) alive(ok bool, reason string, now time.Time, v view) {
	if ok {
		m.deaths = 0
	} else {
		m.deaths++
	}
	threshold := m.config.UnhealthyThreshold
	switch {
	case m.state == Down:
		// Any peer that passes, however long ago, is the better choice.
		if m.reds >= threshold && !m.starting(now) && (ok || !v.refutes(m.checks, time.Time{})) {
			m.become(Degraded, NotReady, m.reason, now)
		}
	case m.state == Degraded && m.deaths >= threshold && v.refutes(m.checks, m.redSince):
		m.become(Down, NotReady, m.reason+"; "+reason, now)
	}
}

// starting reports whether the red answers are those of a server that sets
// itself up. Such a server may forbid everything (its RBAC informers are empty),
// and a client takes a 403 as final, unlike a wait or a 503. A start that does
// not come to an end is no excuse.
func (m *machine) starting(now time.Time) bool {
	return now.Sub(m.redSince) < settlePhase && slices.ContainsFunc(m.checks, func(c string) bool {
		return c == "informer-sync" || strings.HasPrefix(c, "poststarthook/")
	})
}

// next is how long to wait for the next probe; jitter is in [0,1).
func (m *machine) next(now time.Time, jitter float64) time.Duration {
	transition := min(transitionInterval, m.config.Interval)
	interval := time.Duration(float64(m.config.Interval) * (1 - jitterRatio + 2*jitterRatio*jitter))
	switch {
	case !m.state.usable():
		// A first pass is the way back, and so is the red of a starting server.
		if m.passes > 0 || (m.reds > 0 && now.Sub(m.redSince) < settlePhase) {
			return transition
		}
		limit := max(backoffMax, m.config.Interval)
		if now.Sub(m.since) < earlyPhase {
			limit = backoffEarly
		}
		delay := min(m.backoff, limit)
		m.backoff = min(2*delay, limit)
		return time.Duration(float64(delay) * (1 - jitterRatio*jitter))
	case m.connects > 0:
		return min(recheckInterval, transition)
	case m.failures > 0 && m.last == Timeout:
		return 0 // the probe has taken a whole timeout already
	case m.state == Ready && m.failures == 0:
		return interval
	case m.state == Degraded && m.passes == 0 && m.failures == 0 && now.Sub(m.since) >= settlePhase:
		return interval
	}
	return transition
}

// view is what a target needs to know of the others in its group.
type view struct {
	usable bool     // one of them is READY, SUSPECT or DEGRADED
	peers  []answer // the latest answer of each that answers
}

// answer is the latest answer of one target.
type answer struct {
	started time.Time
	kind    ResultKind // Pass, NotReady or Credential
	checks  []string
}

// refutes reports whether some peer has shown since then that the failing checks
// are not the whole cluster's trouble (when etcd is lost, /readyz and /livez of
// every server turn red at once while they still serve reads). A red answer
// without names can mean anything, so it refutes nothing.
func (v view) refutes(checks []string, since time.Time) bool {
	return slices.ContainsFunc(v.peers, func(p answer) bool {
		if p.started.Before(since) {
			return false
		}
		switch p.kind {
		case Pass:
			return true
		case NotReady:
			return len(p.checks) > 0 && len(checks) > 0 && len(intersect(p.checks, checks)) == 0
		}
		return false
	})
}

func intersect(a, b []string) []string {
	var both []string
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}
