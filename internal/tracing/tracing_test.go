package tracing

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP collector.
type collector struct {
	*httptest.Server
	answers chan int // status codes of the next answers; empty: 200

	mu       sync.Mutex
	requests []*http.Request      // guarded by mu
	spans    []*tracepb.Span      // guarded by mu
	resource []*commonpb.KeyValue // guarded by mu; of the last batch
}

func newCollector(t *testing.T, start func(*httptest.Server)) *collector {
	t.Helper()
	c := &collector{answers: make(chan int, 100)}
	c.Server = httptest.NewUnstartedServer(c)
	start(c.Server)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var batch tracepb.TracesData
	if err == nil {
		err = proto.Unmarshal(b, &batch)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, r)
	select {
	case code := <-c.answers:
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
		return
	default:
	}
	for _, from := range batch.ResourceSpans {
		c.resource = from.Resource.Attributes
		for _, scope := range from.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// named returns the span of a name.
func (c *collector) named(t *testing.T, name string) *tracepb.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q among %d", name, len(c.spans))
	return nil
}

func (c *collector) count() (requests, spans int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.requests), len(c.spans)
}

// begin starts tracing to an endpoint.
func begin(t *testing.T, endpoint string, env map[string]string) (*Tracing, *observer.ObservedLogs) {
	t.Helper()
	setenv(t, env)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
	core, logs := observer.New(zap.DebugLevel)
	on, err := New(Options{Version: "v0-test", Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { on.Stop(context.Background()) })
	return on, logs
}

func stop(t *testing.T, on *Tracing, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return on.Stop(ctx)
}

func TestSpansReachTheCollector(t *testing.T) {
	c := newCollector(t, (*httptest.Server).Start)
	on, _ := begin(t, c.URL, map[string]string{
		"OTEL_SERVICE_NAME": "relay-x", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=lab,service.name=no",
		"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20canary", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
	})
	ctx, parent := on.Tracer().Start(t.Context(), "parent", trace.WithSpanKind(trace.SpanKindServer))
	_, child := on.Tracer().Start(ctx, "child")
	child.End()
	parent.End()
	if err := stop(t, on, time.Minute); err != nil {
		t.Fatal(err)
	}
	above, below := c.named(t, "parent"), c.named(t, "child")
	if string(below.ParentSpanId) != string(above.SpanId) || string(below.TraceId) != string(above.TraceId) {
		t.Errorf("child of %x in %x, want %x in %x", below.ParentSpanId, below.TraceId, above.SpanId, above.TraceId)
	}
	if id := parent.SpanContext().TraceID().String(); hex.EncodeToString(above.TraceId) != id || above.Kind != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("span %v, want the trace %s and a server's", above, id)
	}
	about := map[string]string{}
	for _, kv := range c.resource {
		about[kv.Key] = kv.Value.GetStringValue()
	}
	if about["service.name"] != "relay-x" || about["service.version"] != "v0-test" || about["deployment.environment"] != "lab" || about["host.name"] == "" {
		t.Errorf("resource %v", about)
	}
	r := c.requests[0]
	if r.URL.Path != "/v1/traces" || r.Header.Get("Authorization") != "Bearer canary" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("sent to %s with %v", r.URL, r.Header)
	}
}

func TestSamplerIsTheEnvironments(t *testing.T) {
	c := newCollector(t, (*httptest.Server).Start)
	on, _ := begin(t, c.URL, map[string]string{"OTEL_TRACES_SAMPLER": "always_off"})
	_, span := on.Tracer().Start(t.Context(), "s")
	span.End()
	if err := stop(t, on, time.Minute); err != nil {
		t.Fatal(err)
	}
	if requests, _ := c.count(); requests != 0 {
		t.Errorf("%d requests to the collector, want none", requests)
	}
}

func TestCollectorWithACertificateOfItsOwn(t *testing.T) {
	c := newCollector(t, (*httptest.Server).StartTLS)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	on, _ := begin(t, c.URL, map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": ca})
	_, span := on.Tracer().Start(t.Context(), "s")
	span.End()
	if err := stop(t, on, time.Minute); err != nil {
		t.Fatal(err)
	}
	c.named(t, "s")
}

func TestBatchIsRepeatedWhenTheCollectorAsksForThat(t *testing.T) {
	c := newCollector(t, (*httptest.Server).Start)
	c.answers <- http.StatusServiceUnavailable
	on, logs := begin(t, c.URL, map[string]string{"OTEL_BSP_SCHEDULE_DELAY": "1"})
	_, span := on.Tracer().Start(t.Context(), "s")
	span.End()
	await(t, "the span", func() bool { _, spans := c.count(); return spans == 1 })
	if n := logs.FilterMessageSnippet("lost").Len(); n != 0 {
		t.Errorf("%d lines say that traces are lost, want none", n)
	}
}

// await looks until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s", what)
		}
	}
}

func TestLossIsLoggedOnceAndItsEndToo(t *testing.T) {
	c := newCollector(t, (*httptest.Server).Start)
	for range 3 {
		c.answers <- http.StatusFound // and not followed: there is no request to /elsewhere
	}
	on, logs := begin(t, c.URL, map[string]string{"OTEL_BSP_SCHEDULE_DELAY": "1"})
	for n := 1; n <= 4; n++ {
		_, span := on.Tracer().Start(t.Context(), "s")
		span.End()
		await(t, "request", func() bool { requests, _ := c.count(); return requests == n })
	}
	await(t, "line about the end", func() bool { return logs.FilterMessage("the collector takes traces again").Len() == 1 })
	if n := logs.FilterMessageSnippet("traces are lost").Len(); n != 1 {
		t.Errorf("%d lines say that traces are lost, want one", n)
	}
}

func TestStopEndsInTime(t *testing.T) {
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tc := range []struct {
		name, endpoint string
		sent           bool // as far as Stop knows: the log has it
	}{
		{"a collector that refuses connections", "http://" + refused.Addr().String(), true},
		{"a collector that does not answer", "http://" + silent.Addr().String(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			on, logs := begin(t, tc.endpoint, nil)
			for range 3 * defaultQueue { // more than there is room for
				_, span := on.Tracer().Start(t.Context(), "s")
				span.End()
			}
			begun := time.Now()
			err := stop(t, on, 200*time.Millisecond)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("stopped after %v", took)
			}
			if (err == nil) != tc.sent {
				t.Errorf("error %v, want one: %v", err, !tc.sent)
			}
			if n := logs.FilterMessageSnippet("traces are lost").Len(); n != 1 {
				t.Errorf("%d lines say that traces are lost, want one", n)
			}
		})
	}
}
