package admin

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// filled returns metrics in which every metric has a series.
func filled() *Metrics {
	m := NewMetrics(Build{Version: "v1.2.3", Revision: "abc"})
	m.SetUpstreams("prod", []string{"a", "b"})
	m.Request(RequestLabels{Listener: "default", Cluster: "prod", Verb: "get", Resource: "pods", Code: 200}).Observe(3 * time.Millisecond)
	m.Upstream("prod", "a").Request(OutcomeSuccess)
	m.Upstream("prod", "a").FirstByte(2 * time.Millisecond)
	m.Upstream("prod", "a").State("READY")
	m.Retry("prod", RetryConnect)
	m.CredentialRefresh("me", "success")
	m.CredentialExpiry("me", time.Unix(1800000000, 0))
	m.Denied(DeniedPath)
	m.Reload(true, time.Unix(1700000000, 0))
	return m
}

func TestNamesFollowPrometheusRules(t *testing.T) {
	problems, err := testutil.GatherAndLint(filled().Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEveryMetricOfTheContractExists(t *testing.T) {
	families, err := filled().Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		have[f.GetName()] = strings.Join(labels, ",")
	}
	for name, labels := range map[string]string{ // labels in alphabetical order
		"kuberelay_requests_total":                               "client,cluster,code,group,listener,resource,verb",
		"kuberelay_request_duration_seconds":                     "cluster,listener,verb",
		"kuberelay_requests_in_flight":                           "cluster",
		"kuberelay_streams":                                      "kind",
		"kuberelay_upstream_requests_total":                      "cluster,outcome,upstream",
		"kuberelay_upstream_duration_seconds":                    "cluster,upstream",
		"kuberelay_upstream_state":                               "cluster,state,upstream",
		"kuberelay_breaker_state":                                "cluster,state,upstream",
		"kuberelay_retries_total":                                "cluster,reason",
		"kuberelay_retry_budget_exhausted_total":                 "cluster",
		"kuberelay_credential_refresh_total":                     "credential,result",
		"kuberelay_credential_expiry_timestamp_seconds":          "credential",
		"kuberelay_denied_total":                                 "reason",
		"kuberelay_config_last_reload_successful":                "",
		"kuberelay_config_last_reload_success_timestamp_seconds": "",
		"kuberelay_revoked_clients":                              "",
		"kuberelay_streams_cut_total":                            "reason",
		"kuberelay_audit_events_total":                           "stage",
		"kuberelay_audit_errors_total":                           "",
		"kuberelay_build_info":                                   "goversion,revision,version",
		"go_goroutines":                                          "",
		"process_start_time_seconds":                             "",
	} {
		if got, ok := have[name]; !ok || got != labels {
			t.Errorf("%s has labels %q (exists: %v), want %q", name, got, ok, labels)
		}
	}
}

func TestRequestsCountWithTheirLabels(t *testing.T) {
	m := NewMetrics(Build{})
	key := RequestLabels{Listener: "default", Cluster: "prod", Verb: "get", Group: "apps", Resource: "deployments", Code: 200}
	m.Request(key).Observe(3 * time.Millisecond)
	m.Request(key).Observe(30 * time.Millisecond)
	key.Verb = "watch"
	m.Request(key).Observe(time.Hour)
	key.Verb, key.Resource = "get", "pods"
	m.Request(key).Count() // logs -f
	err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(`
# HELP kuberelay_requests_total Requests answered, by what was asked and the HTTP status the client got.
# TYPE kuberelay_requests_total counter
kuberelay_requests_total{client="",cluster="prod",code="200",group="apps",listener="default",resource="deployments",verb="get"} 2
kuberelay_requests_total{client="",cluster="prod",code="200",group="apps",listener="default",resource="deployments",verb="watch"} 1
kuberelay_requests_total{client="",cluster="prod",code="200",group="apps",listener="default",resource="pods",verb="get"} 1
`), "kuberelay_requests_total")
	if err != nil {
		t.Error(err)
	}
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "kuberelay_request_duration_seconds" {
			continue
		}
		if n := len(f.GetMetric()); n != 1 {
			t.Errorf("%d duration series, want the one of get: a watch has no duration", n)
		}
		h := f.GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 2 || h.GetSampleSum() != 0.033 {
			t.Errorf("%d samples, %v s in sum, want 2 and 0.033", h.GetSampleCount(), h.GetSampleSum())
		}
	}
}

func TestVerbNamesAndNumbersAgree(t *testing.T) {
	for v, name := range verbNames {
		if got := verbOf(name); got != verb(v) {
			t.Errorf("verbOf(%q) = %d, want %d", name, got, v)
		}
	}
	for _, name := range []string{"", "GET", "brew", "get "} {
		if got := verbOf(name); got != verbOther {
			t.Errorf("verbOf(%q) = %d, want other", name, got)
		}
	}
}

func TestStrangersCannotMakeSeries(t *testing.T) {
	m := NewMetrics(Build{})
	for i := range 3 * maxRequestSeries {
		m.Request(RequestLabels{
			Listener: "default", Cluster: "prod", Verb: fmt.Sprintf("BREW%d", i),
			Group: fmt.Sprintf("g%d", i), Resource: "\xff\xfe", Code: 1000 + i,
		}).Observe(time.Millisecond)
	}
	if n := testutil.CollectAndCount(m.requests); n != maxRequestSeries+1 {
		t.Errorf("%d series, want %d and the one they are folded into", n, maxRequestSeries)
	}
	if n := testutil.CollectAndCount(m.requestDuration); n != 1 {
		t.Errorf("%d duration series, want 1: verb is other", n)
	}
	folded := testutil.ToFloat64(m.requests.WithLabelValues("default", "prod", "", "other", "other", "other", "other"))
	if folded != 2*maxRequestSeries {
		t.Errorf("%v requests folded, want %d", folded, 2*maxRequestSeries)
	}
	for i := range 2 * maxReasonSeries {
		m.Denied(fmt.Sprintf("reason%d", i))
		m.Retry("prod", fmt.Sprintf("reason%d", i))
	}
	if n := testutil.CollectAndCount(m.denied); n > maxReasonSeries+1 {
		t.Errorf("%d denied series, want at most %d", n, maxReasonSeries+1)
	}
	if n := testutil.CollectAndCount(m.retries); n > maxReasonSeries+1 {
		t.Errorf("%d retry series, want at most %d", n, maxReasonSeries+1)
	}
	m = NewMetrics(Build{})
	m.Denied("")
	if got := testutil.ToFloat64(m.denied.WithLabelValues(other)); got != 1 {
		t.Errorf("a denial without reason counts %v as other, want 1", got)
	}
	m.Stream("teleport").Inc()
	if got := testutil.ToFloat64(m.streams["other"]); got != 1 {
		t.Errorf("an unknown stream kind counts %v as other, want 1", got)
	}
}

func TestUpstreamStateIsOneHot(t *testing.T) {
	m := NewMetrics(Build{})
	m.SetUpstreams("prod", []string{"a"})
	u := m.Upstream("prod", "a")
	u.State("READY")
	u.State("DOWN")
	u.Breaker("open")
	err := testutil.GatherAndCompare(m.Registry(), strings.NewReader(`
# HELP kuberelay_breaker_state 1 for the state an API server's circuit breaker is in, 0 for the others.
# TYPE kuberelay_breaker_state gauge
kuberelay_breaker_state{cluster="prod",state="closed",upstream="a"} 0
kuberelay_breaker_state{cluster="prod",state="half-open",upstream="a"} 0
kuberelay_breaker_state{cluster="prod",state="open",upstream="a"} 1
# HELP kuberelay_upstream_state 1 for the state an API server is in, 0 for the others.
# TYPE kuberelay_upstream_state gauge
kuberelay_upstream_state{cluster="prod",state="DEGRADED",upstream="a"} 0
kuberelay_upstream_state{cluster="prod",state="DOWN",upstream="a"} 1
kuberelay_upstream_state{cluster="prod",state="MISCONFIGURED",upstream="a"} 0
kuberelay_upstream_state{cluster="prod",state="READY",upstream="a"} 0
kuberelay_upstream_state{cluster="prod",state="SUSPECT",upstream="a"} 0
`), "kuberelay_upstream_state", "kuberelay_breaker_state")
	if err != nil {
		t.Error(err)
	}
}

func TestSeriesOfARemovedUpstreamGoAndStayAway(t *testing.T) {
	m := NewMetrics(Build{})
	m.SetUpstreams("prod", []string{"a", "b"})
	m.SetUpstreams("dev", []string{"a"})
	gone, stays := m.Upstream("prod", "a"), m.Upstream("prod", "b")
	gone.Request(OutcomeSuccess)
	stays.Request(OutcomeSuccess)
	m.SetUpstreams("prod", []string{"b", "c"})

	// Late reports, from a request that was in flight.
	gone.Request("nonsense")
	gone.FirstByte(time.Second)
	gone.State("DOWN")
	m.Upstream("prod", "a").Request(OutcomeSuccess)
	m.Upstream("prod", "a").State("DOWN")

	for _, vec := range []prometheus.Collector{m.upstreamRequests, m.upstreamDuration, m.upstreamState, m.breakerState} {
		ch := make(chan prometheus.Metric, 200)
		vec.Collect(ch)
		close(ch)
		for metric := range ch {
			if s := seriesOf(t, metric); strings.Contains(s, `cluster="prod" upstream="a"`) {
				t.Errorf("series %s is still there", s)
			}
		}
	}
	if m.Upstream("prod", "b") != stays || m.Upstream("dev", "a") == nil || m.Upstream("prod", "c") == nil {
		t.Error("the other upstreams were touched")
	}
	if got := testutil.ToFloat64(m.upstreamRequests.WithLabelValues("prod", "b", OutcomeSuccess)); got != 1 {
		t.Errorf("b counts %v, want the 1 from before", got)
	}
}

// seriesOf prints cluster and upstream of a series.
func seriesOf(t *testing.T, metric prometheus.Metric) string {
	t.Helper()
	var out dto.Metric
	if err := metric.Write(&out); err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, l := range out.GetLabel() {
		if l.GetName() == "cluster" || l.GetName() == "upstream" {
			parts = append(parts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
	}
	return strings.Join(parts, " ")
}

func TestZeroSeriesExistBeforeTheFirstEvent(t *testing.T) {
	m := NewMetrics(Build{})
	m.SetUpstreams("prod", []string{"a"})
	for name, c := range map[string]struct {
		vec  prometheus.Collector
		want int
	}{
		"upstream requests":      {m.upstreamRequests, len(outcomes)},
		"retries":                {m.retries, len(retryReasons)},
		"retry budget exhausted": {m.budgetExhausted, 1},
		"denied":                 {m.denied, len(deniedReasons)},
		"in flight":              {m.inFlight, 1},
		"streams cut":            {m.serve.cutVec, len(cutReasons)},
		"audit events":           {m.serve.auditVec, len(auditStages)},
		"audit errors":           {m.serve.auditErrors, 1},
		"revoked clients":        {m.serve.revoked, 1},
	} {
		if got := testutil.CollectAndCount(c.vec); got != c.want {
			t.Errorf("%s: %d series, want %d", name, got, c.want)
		}
	}
}

func TestCredentialExpiryIsAbsentWhenUnknown(t *testing.T) {
	m := NewMetrics(Build{})
	m.CredentialExpiry("me", time.Unix(1800000000, 500e6))
	if got := testutil.ToFloat64(m.credentialExpiry.WithLabelValues("me")); got != 1800000000.5 {
		t.Errorf("expiry is %v", got)
	}
	m.CredentialExpiry("me", time.Time{})
	if got := testutil.CollectAndCount(m.credentialExpiry); got != 0 {
		t.Errorf("%d expiry series, want none", got)
	}
}

func TestConcurrentUseLosesNothing(t *testing.T) {
	m := NewMetrics(Build{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 2000 {
				m.Request(RequestLabels{Cluster: "prod", Verb: "get", Resource: fmt.Sprint(i % 100), Code: 200}).Observe(0)
				m.SetUpstreams("prod", []string{fmt.Sprint(i % 3)})
				m.Upstream("prod", fmt.Sprint(i%3)).Request(OutcomeSuccess)
				m.InFlight("prod").Inc()
				m.InFlight("prod").Dec()
				m.Retry("prod", RetryConnect)
			}
		})
	}
	wg.Wait()
	for i := range 100 {
		if got := testutil.ToFloat64(m.requests.WithLabelValues("", "prod", "", "get", "", fmt.Sprint(i), "200")); got != 80 {
			t.Fatalf("resource %d counts %v, want 80", i, got)
		}
	}
	if got := testutil.ToFloat64(m.retries.WithLabelValues("prod", RetryConnect)); got != 8000 {
		t.Errorf("%v retries, want 8000", got)
	}
	if got := testutil.ToFloat64(m.inFlight.WithLabelValues("prod")); got != 0 {
		t.Errorf("%v in flight, want 0", got)
	}
}

func TestTheHotPathAllocatesNothing(t *testing.T) {
	m := filled()
	key := RequestLabels{Listener: "default", Cluster: "prod", Verb: "get", Resource: "pods", Code: 200}
	m.Request(key)
	if n := testing.AllocsPerRun(100, func() {
		m.Request(key).Observe(3 * time.Millisecond)
		u := m.Upstream("prod", "a")
		u.Request(OutcomeSuccess)
		u.FirstByte(time.Millisecond)
		m.InFlight("prod").Inc()
		m.InFlight("prod").Dec()
		m.Stream(StreamWatch).Inc()
		m.Denied(DeniedForbidden)
		m.AuditEvent(AuditResponseComplete)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkRequestObserve(b *testing.B) {
	m := NewMetrics(Build{})
	for _, resource := range []string{"nodes", "services", "configmaps", "secrets", "events", "pods"} {
		for range 50 {
			m.Request(RequestLabels{Listener: "default", Cluster: "prod", Verb: "get", Resource: resource, Code: 200})
		}
	}
	key := RequestLabels{Listener: "default", Cluster: "prod", Verb: "get", Resource: "pods", Code: 200}
	b.ReportAllocs()
	for b.Loop() {
		m.Request(key).Observe(3 * time.Millisecond)
	}
}

func BenchmarkRequestObserveParallel(b *testing.B) {
	m := NewMetrics(Build{})
	key := RequestLabels{Listener: "default", Cluster: "prod", Verb: "get", Resource: "pods", Code: 200}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request(key).Observe(3 * time.Millisecond)
		}
	})
}

func BenchmarkUpstream(b *testing.B) {
	m := filled()
	b.ReportAllocs()
	for b.Loop() {
		u := m.Upstream("prod", "a")
		u.Request(OutcomeSuccess)
		u.FirstByte(time.Millisecond)
	}
}

func TestRevisionIsTheLinkersWhereNoneIsGiven(t *testing.T) {
	vcsRevision = "0123abc"
	t.Cleanup(func() { vcsRevision = "" })
	for given, want := range map[string]string{"": "0123abc", "def": "def"} {
		if got := revision(given); got != want {
			t.Errorf("revision(%q) = %q, want %q", given, got, want)
		}
	}
}
