package admin

import (
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// other is the label value for everything that is not one of the known ones.
const other = "other"

// Bounds on the number of series, whatever clients and clusters send. What exceeds
// them is counted with "other" in place of the labels that vary.
const (
	maxRequestSeries = 10000
	maxReasonSeries  = 256
)

// durationBuckets, in seconds, reach from an answer out of the API server's
// cache to its own limit for short requests, --request-timeout=60s.
var durationBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// Metrics are all metrics of kuberelay, on a registry of their own. Methods may
// be called from any goroutine. Label values are bounded: see each method.
// Series that are known beforehand exist from the start with value 0, so that
// rate() sees the first event.
type Metrics struct {
	registry *prometheus.Registry

	requests        *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec
	inFlight        *prometheus.GaugeVec
	streams         map[string]prometheus.Gauge

	upstreamRequests *prometheus.CounterVec
	upstreamDuration *prometheus.HistogramVec
	upstreamState    *prometheus.GaugeVec
	breakerState     *prometheus.GaugeVec
	upstreams        upstreamSet

	retries           *prometheus.CounterVec
	budgetExhausted   *prometheus.CounterVec
	denied            *prometheus.CounterVec
	credentialRefresh *prometheus.CounterVec
	credentialExpiry  *prometheus.GaugeVec
	serve             serveMetrics

	requestCache  *cache[requestKey, *RequestMetrics]
	inFlightCache *cache[string, prometheus.Gauge]
	retryCache    *cache[pair, prometheus.Counter]
	refreshCache  *cache[pair, prometheus.Counter]
	deniedCache   *cache[string, prometheus.Counter]
}

// pair is two label values. When there are too many, "other" replaces the second.
type pair [2]string

// Build names the binary for kuberelay_build_info.
type Build struct {
	Version  string // shown as it is
	Revision string // VCS revision; empty: what the Go toolchain recorded
}

// NewMetrics makes the metrics and registers them, together with the Go
// runtime's and the process's, on a new registry.
func NewMetrics(b Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("requests_total", "Requests answered, by what was asked and the HTTP status the client got.",
			"listener", "cluster", "client", "verb", "group", "resource", "code"),
		requestDuration: histogram("request_duration_seconds", "Time from a request's arrival to the end of its answer; watches and upgrades are not in it.",
			"listener", "cluster", "verb"),
		inFlight: gauge("requests_in_flight", "Short requests being worked on.", "cluster"),

		upstreamRequests: counter("upstream_requests_total", "Attempts sent, or tried to be sent, to an API server, by outcome.",
			"cluster", "upstream", "outcome"),
		upstreamDuration: histogram("upstream_duration_seconds", "Time from the start of an attempt to the first byte of the API server's answer.",
			"cluster", "upstream"),
		upstreamState: gauge("upstream_state", "1 for the state an API server is in, 0 for the others.", "cluster", "upstream", "state"),
		breakerState:  gauge("breaker_state", "1 for the state an API server's circuit breaker is in, 0 for the others.", "cluster", "upstream", "state"),

		retries:           counter("retries_total", "Further attempts made for a request, by why the one before failed.", "cluster", "reason"),
		budgetExhausted:   counter("retry_budget_exhausted_total", "Further attempts that the retry budget did not allow.", "cluster"),
		denied:            counter("denied_total", "Requests that kuberelay itself refused, by reason.", "reason"),
		credentialRefresh: counter("credential_refresh_total", "Attempts to get a new credential, by result.", "credential", "result"),
		credentialExpiry:  gauge("credential_expiry_timestamp_seconds", "When the credential in use expires, in Unix time; absent when it does not or when that is unknown.", "credential"),
	}
	streams := gauge("streams", "Open watches, log follows and upgraded connections, by kind.", "kind")
	info := gauge("build_info", "1, with the version of this binary in the labels.", "version", "revision", "goversion")
	m.serve = newServeMetrics()
	m.registry.MustRegister(m.serve.collectors()...)
	m.registry.MustRegister(
		m.requests, m.requestDuration, m.inFlight, streams,
		m.upstreamRequests, m.upstreamDuration, m.upstreamState, m.breakerState,
		m.retries, m.budgetExhausted, m.denied, m.credentialRefresh, m.credentialExpiry,
		info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)

	m.requestCache = newCache(maxRequestSeries, m.bindRequest, foldRequest)
	m.inFlightCache = newCache(maxReasonSeries, func(cluster string) prometheus.Gauge {
		return m.inFlight.WithLabelValues(label(cluster))
	}, foldAll)
	m.retryCache = newCache(maxReasonSeries, bindPair(m.retries), foldSecond)
	m.refreshCache = newCache(maxReasonSeries, bindPair(m.credentialRefresh), foldSecond)
	m.deniedCache = newCache(maxReasonSeries, func(reason string) prometheus.Counter {
		if reason == "" {
			reason = other // an empty label would be no label
		}
		return m.denied.WithLabelValues(label(reason))
	}, foldAll)

	m.streams = make(map[string]prometheus.Gauge, len(streamKinds))
	for _, kind := range streamKinds {
		m.streams[kind] = streams.WithLabelValues(kind)
	}
	for _, reason := range deniedReasons {
		m.deniedCache.get(reason)
	}
	info.WithLabelValues(label(b.Version), label(revision(b.Revision)), runtime.Version()).Set(1)
	return m
}

// Registry is what /metrics serves.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// RetryBudgetExhausted counts an attempt that was not made because the cluster's
// retry budget was used up.
func (m *Metrics) RetryBudgetExhausted(cluster string) {
	m.budgetExhausted.WithLabelValues(label(cluster)).Inc()
}

// CredentialRefresh counts an attempt to get a new credential. The result is a
// word fixed in the code, such as "ok".
func (m *Metrics) CredentialRefresh(credential, result string) {
	m.refreshCache.get(pair{credential, result}).Inc()
}

// CredentialExpiry sets when a credential expires. The zero time removes the
// series: it does not expire, or that is not known.
func (m *Metrics) CredentialExpiry(credential string, t time.Time) {
	if t.IsZero() {
		m.credentialExpiry.DeleteLabelValues(label(credential))
		return
	}
	m.credentialExpiry.WithLabelValues(label(credential)).Set(float64(t.UnixMilli()) / 1000)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kuberelay", Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "kuberelay", Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "kuberelay", Name: name, Help: help, Buckets: durationBuckets,
	}, labels)
}

func bindPair(vec *prometheus.CounterVec) func(pair) prometheus.Counter {
	return func(p pair) prometheus.Counter { return vec.WithLabelValues(label(p[0]), label(p[1])) }
}

func foldSecond(p pair) pair { return pair{p[0], other} }

func foldAll(string) string { return other }

// label makes a value fit for a label. Prometheus' WithLabelValues does not
// survive invalid UTF-8.
func label(v string) string {
	const maxLength = 256
	if len(v) > maxLength {
		v = v[:maxLength]
	}
	return strings.ToValidUTF8(v, "?")
}

// vcsRevision is the revision of a build that does not see the repository:
// -ldflags "-X github.com/kuberelay/kuberelay/admin.vcsRevision=0123abcd".
var vcsRevision string

func revision(given string) string {
	if given != "" {
		return given
	}
	if vcsRevision != "" {
		return vcsRevision
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
