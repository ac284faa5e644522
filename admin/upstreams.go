package admin

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of an attempt, after the table of outcomes that the circuit breaker
// and the retries follow.
const (
	OutcomeSuccess      = "success"       // 1xx to 4xx, the API server did its work
	OutcomeThrottled    = "throttled"     // 429 of priority and fairness or an eviction
	OutcomeServerError  = "server_error"  // 500, and every 5xx that is not the kube-apiserver's own
	OutcomeUnavailable  = "unavailable"   // its own 502, 503 or 504
	OutcomeShuttingDown = "shutting_down" // it says it is stopping or not yet started
	OutcomeInitializing = "initializing"  // its watch cache is still filling
	OutcomeConnect      = "connect"       // no connection: refused, unreachable, timed out
	OutcomeCertificate  = "certificate"   // its certificate does not verify
	OutcomeUnprocessed  = "unprocessed"   // REFUSED_STREAM, GOAWAY, or nothing was written
	OutcomeStale        = "stale"         // a kept-alive connection was closed in the same moment
	OutcomeReset        = "reset"         // the connection broke after the request was sent
	OutcomeTimeout      = "timeout"       // no answer in time
	OutcomeUnauthorized = "unauthorized"  // our credential was refused
	OutcomeCanceled     = "canceled"      // the client went away
	OutcomeOther        = other
)

var outcomes = []string{OutcomeSuccess, OutcomeThrottled, OutcomeServerError, OutcomeUnavailable,
	OutcomeShuttingDown, OutcomeInitializing, OutcomeConnect, OutcomeCertificate, OutcomeUnprocessed,
	OutcomeStale, OutcomeReset, OutcomeTimeout, OutcomeUnauthorized, OutcomeCanceled, OutcomeOther}

// Values of the label state.
var (
	upstreamStates = []string{"READY", "SUSPECT", "DEGRADED", "DOWN", "MISCONFIGURED"}
	breakerStates  = []string{"closed", "half-open", "open"}
)

// UpstreamMetrics are the series of one upstream. A nil *UpstreamMetrics counts
// nothing, and so does one that was removed: a late report brings no series
// back.
type UpstreamMetrics struct {
	requests map[string]prometheus.Counter // by outcome, all of them; immutable
	duration prometheus.Observer
	latency  latency
	state    *oneHot
	breaker  *oneHot
}

type upstreamKey struct{ cluster, upstream string }

// upstreamSet is the upstreams whose series exist.
type upstreamSet struct {
	mu   sync.Mutex // serialises writers
	live atomic.Pointer[map[upstreamKey]*UpstreamMetrics]
}

func (s *upstreamSet) load() map[upstreamKey]*UpstreamMetrics {
	if p := s.live.Load(); p != nil {
		return *p
	}
	return nil
}

// SetUpstreams makes the series of exactly these upstreams of the cluster exist:
// new ones start at 0, those of upstreams that are gone are removed, and the
// others stay as they are.
func (m *Metrics) SetUpstreams(cluster string, ids []string) {
	m.upstreams.mu.Lock()
	defer m.upstreams.mu.Unlock()
	old := m.upstreams.load()
	live := maps.Clone(old)
	if live == nil {
		live = map[upstreamKey]*UpstreamMetrics{}
	}
	keep := make(map[string]bool, len(ids))
	for _, id := range ids {
		keep[id] = true
		key := upstreamKey{cluster, id}
		if live[key] == nil {
			live[key] = m.bindUpstream(key)
		}
	}
	for key := range old {
		if key.cluster == cluster && !keep[key.upstream] {
			delete(live, key)
			m.deleteUpstream(key)
		}
	}
	m.upstreams.live.Store(&live)

	m.inFlightCache.get(cluster)
	m.budgetExhausted.WithLabelValues(label(cluster))
	for _, reason := range retryReasons {
		m.retryCache.get(pair{cluster, reason})
	}
}

// Upstream returns the series of an upstream that [Metrics.SetUpstreams] named,
// else nil, which is fine to use. It neither locks nor allocates.
func (m *Metrics) Upstream(cluster, id string) *UpstreamMetrics {
	return m.upstreams.load()[upstreamKey{cluster, id}]
}

// Request counts an attempt; an outcome that is none of the constants counts as
// "other".
func (u *UpstreamMetrics) Request(outcome string) {
	if u == nil {
		return
	}
	c, ok := u.requests[outcome]
	if !ok {
		c = u.requests[OutcomeOther]
	}
	c.Inc()
}

// FirstByte records how long an attempt took until the upstream's answer began.
func (u *UpstreamMetrics) FirstByte(took time.Duration) {
	if u != nil {
		u.duration.Observe(took.Seconds())
		u.latency.observe(time.Now(), took)
	}
}

// State sets the upstream's state: READY, SUSPECT, DEGRADED, DOWN or
// MISCONFIGURED. With any other word no state is 1.
func (u *UpstreamMetrics) State(state string) {
	if u != nil {
		u.state.set(state)
	}
}

// Breaker sets the state of the upstream's circuit breaker: closed, half-open or
// open. With any other word no state is 1.
func (u *UpstreamMetrics) Breaker(state string) {
	if u != nil {
		u.breaker.set(state)
	}
}

func (m *Metrics) bindUpstream(key upstreamKey) *UpstreamMetrics {
	cluster, upstream := label(key.cluster), label(key.upstream)
	u := &UpstreamMetrics{
		requests: make(map[string]prometheus.Counter, len(outcomes)),
		duration: m.upstreamDuration.WithLabelValues(cluster, upstream),
		state:    newOneHot(m.upstreamState, cluster, upstream, upstreamStates),
		breaker:  newOneHot(m.breakerState, cluster, upstream, breakerStates),
	}
	for _, outcome := range outcomes {
		u.requests[outcome] = m.upstreamRequests.WithLabelValues(cluster, upstream, outcome)
	}
	u.breaker.set("closed")
	return u
}

func (m *Metrics) deleteUpstream(key upstreamKey) {
	match := prometheus.Labels{"cluster": label(key.cluster), "upstream": label(key.upstream)}
	m.upstreamRequests.DeletePartialMatch(match)
	m.upstreamDuration.DeletePartialMatch(match)
	m.upstreamState.DeletePartialMatch(match)
	m.breakerState.DeletePartialMatch(match)
}

// oneHot is one gauge for each value of an enumeration, of which one is 1.
type oneHot struct {
	mu     sync.Mutex
	gauges map[string]prometheus.Gauge // immutable
}

func newOneHot(vec *prometheus.GaugeVec, cluster, upstream string, states []string) *oneHot {
	o := &oneHot{gauges: make(map[string]prometheus.Gauge, len(states))}
	for _, state := range states {
		o.gauges[state] = vec.WithLabelValues(cluster, upstream, state)
	}
	return o
}

func (o *oneHot) set(state string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, g := range o.gauges {
		value := 0.0
		if name == state {
			value = 1
		}
		g.Set(value)
	}
}
