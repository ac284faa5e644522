package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons of [Metrics.StreamCut]: why something in flight was ended from here.
const (
	CutRevoked    = "revoked"    // an operator revoked the client
	CutExpired    = "expired"    // the client's token or certificate expired
	CutReload     = "reload"     // the client, its evidence or its grant is no longer configured, or the cluster's settings are others
	CutPolicy     = "policy"     // the policy no longer allows it
	CutCredential = "credential" // the credential it was made with is another one now
	CutDrain      = "drain"      // its API server was drained
	CutShutdown   = "shutdown"   // the process stops
	CutOther      = other
)

var cutReasons = []string{CutRevoked, CutExpired, CutReload, CutPolicy, CutCredential, CutDrain, CutShutdown, CutOther}

// Stages of [Metrics.AuditEvent], in the words of audit.k8s.io/v1.
const (
	AuditRequestReceived  = "RequestReceived"
	AuditResponseStarted  = "ResponseStarted"
	AuditResponseComplete = "ResponseComplete"
	AuditPanic            = "Panic"
	AuditOther            = other
)

var auditStages = []string{AuditRequestReceived, AuditResponseStarted, AuditResponseComplete, AuditPanic, AuditOther}

// serveMetrics are those that only kuberelay serve has a use for.
type serveMetrics struct {
	// These two have no labels. They are vectors so that they are absent until
	// they are set: a process without a configuration file has had no reload
	// that failed.
	reloadOK *prometheus.GaugeVec
	reloadAt *prometheus.GaugeVec

	revoked     prometheus.Gauge
	cutVec      *prometheus.CounterVec
	auditVec    *prometheus.CounterVec
	auditErrors prometheus.Counter

	cut   map[string]prometheus.Counter // by reason, all of them; immutable
	audit map[string]prometheus.Counter // by stage, all of them; immutable
}

func newServeMetrics() serveMetrics {
	s := serveMetrics{
		reloadOK: gauge("config_last_reload_successful", "1 when the configuration file as it was last read is in force, 0 when it was refused."),
		reloadAt: gauge("config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded, in Unix time."),
		cutVec:   counter("streams_cut_total", "Requests and streams that were ended from here before they were complete, by reason.", "reason"),
		auditVec: counter("audit_events_total", "Audit events written, by stage.", "stage"),
		revoked: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "kuberelay", Name: "revoked_clients", Help: "Configured clients that are revoked at the moment.",
		}),
		auditErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "kuberelay", Name: "audit_errors_total", Help: "Audit events that could not be written.",
		}),
	}
	s.cut, s.audit = bindAll(s.cutVec, cutReasons), bindAll(s.auditVec, auditStages)
	return s
}

func bindAll(vec *prometheus.CounterVec, values []string) map[string]prometheus.Counter {
	counters := make(map[string]prometheus.Counter, len(values))
	for _, v := range values {
		counters[v] = vec.WithLabelValues(v)
	}
	return counters
}

func (s *serveMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.reloadOK, s.reloadAt, s.revoked, s.cutVec, s.auditVec, s.auditErrors}
}

// Reload sets how and when reading the configuration file ended, the first time
// included. Its two metrics are absent until it is called.
func (m *Metrics) Reload(ok bool, at time.Time) {
	if !ok {
		m.serve.reloadOK.WithLabelValues().Set(0)
		return
	}
	m.serve.reloadOK.WithLabelValues().Set(1)
	m.serve.reloadAt.WithLabelValues().Set(float64(at.UnixMilli()) / 1000)
}

// Revoked sets how many clients are revoked.
func (m *Metrics) Revoked(clients int) { m.serve.revoked.Set(float64(clients)) }

// StreamCut counts a request or stream that was ended from here; a reason that
// is none of the constants counts as "other".
func (m *Metrics) StreamCut(reason string) { count(m.serve.cut, reason) }

// AuditEvent counts an audit event that was written; a stage that is none of
// the constants counts as "other".
func (m *Metrics) AuditEvent(stage string) { count(m.serve.audit, stage) }

// AuditError counts an audit event that could not be written.
func (m *Metrics) AuditError() { m.serve.auditErrors.Inc() }

func count(counters map[string]prometheus.Counter, value string) {
	c, ok := counters[value]
	if !ok {
		c = counters[other]
	}
	c.Inc()
}
