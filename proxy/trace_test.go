package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/kuberelay/kuberelay/internal/apigroups"
)

// traced is an exchange for a path, ready for its spans.
func traced(tracing *Tracing, method, path string) *exchange {
	r := httptest.NewRequest(method, "/", nil)
	r.URL.Path = path
	cluster := &Cluster{Name: "test", Groups: apigroups.New()}
	h := NewHandler(Options{Listener: "proxy", Cluster: cluster, Tracing: tracing})
	x := newExchange(h, cluster, nil, r, path, path, time.Now())
	x.header, x.auditID = r.Header.Clone(), "00000000-0000-0000-0000-000000000000"
	return x
}

// run takes an exchange's spans from their beginning to their end.
func (x *exchange) run(u *Upstream) {
	x.traceRequest()
	x.traceAttempt(u)
	x.traceVerdict(verdictOK, nil)
	x.endTraceAttempt()
	x.endTraceRequest()
}

var tracedUpstream = &Upstream{ID: "10.0.0.1:6443", URL: &url.URL{Scheme: "https", Host: "10.0.0.1:6443"}}

func TestWithoutTracingNothingIsAllocated(t *testing.T) {
	x := traced(nil, "GET", "/api/v1/namespaces/x/pods/p")
	before := x.header
	if n := testing.AllocsPerRun(100, func() { x.run(tracedUpstream) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	before.Set("Mark", "x")
	if x.header.Get("Mark") == "" {
		t.Error("the header is another one")
	}
}

func BenchmarkTraceOff(b *testing.B) { benchmarkTrace(b, nil) }

func BenchmarkTraceOn(b *testing.B) {
	provider := sdk.NewTracerProvider() // and nobody takes the spans
	benchmarkTrace(b, &Tracing{Tracer: provider.Tracer("test"), Propagator: propagation.TraceContext{}})
}

func benchmarkTrace(b *testing.B, tracing *Tracing) {
	x := traced(tracing, "GET", "/api/v1/namespaces/x/pods/p")
	b.ReportAllocs()
	for b.Loop() {
		x.run(tracedUpstream)
	}
}

// spanOf returns the span of a request.
func spanOf(t *testing.T, method, path string) (name string, about map[attribute.Key]string) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	x := traced(&Tracing{Tracer: provider.Tracer("test")}, method, path)
	x.run(tracedUpstream)
	about = make(map[attribute.Key]string)
	ended := recorder.Ended()
	request := ended[len(ended)-1]
	for _, kv := range request.Attributes() {
		about[kv.Key] = kv.Value.String()
	}
	return request.Name(), about
}

func TestSpansHaveFewNames(t *testing.T) {
	for _, tc := range []struct {
		name, method, path string
		want               string
		namespace, sub     string
		resource           string
	}{
		{"a list", "GET", "/api/v1/pods", "GET pods", "", "", "pods"},
		{"an object", "DELETE", "/apis/apps/v1/namespaces/a/deployments/d", "DELETE deployments", "a", "", "deployments"},
		{"a subresource", "POST", "/api/v1/namespaces/a/pods/p/exec", "POST pods", "a", "exec", "pods"},
		{"a namespace", "GET", "/api/v1/namespaces/a", "GET namespaces", "a", "", "namespaces"},
		{"the deprecated watch", "GET", "/api/v1/watch/namespaces/a/pods", "GET pods", "a", "", "pods"},
		{"a resource that the cluster does not have", "GET", "/api/v1/namespaces/a/canaries", "GET other", "a", "", "other"},
		{"a group that it does not have", "GET", "/apis/canary/v1/canaries", "GET other", "", "", "other"},
		{"words that are no names", "GET", "/api/v1/namespaces/Not A Name/pods/p/Neither!", "GET pods", "", "", "pods"},
		{"words of any length", "GET", "/api/v1/namespaces/" + strings.Repeat("a", 64) + "/pods/p/" + strings.Repeat("b", 64), "GET pods", "", "", "pods"},
		{"not a resource", "GET", "/healthz", "GET", "", "", ""},
		{"a method that HTTP does not define", "CANARY", "/healthz", "HTTP", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name, about := spanOf(t, tc.method, tc.path)
			if name != tc.want || about[keyNamespace] != tc.namespace || about[keySubresource] != tc.sub || about[keyResource] != tc.resource {
				t.Errorf("span %q, %v", name, about)
			}
			for key, value := range about {
				if strings.Contains(strings.ToLower(value), "canar") {
					t.Errorf("%s is %q", key, value)
				}
			}
		})
	}
}

// The namespace is the one that Kubernetes' own parser finds.
func TestNamespaceIsRequestInfos(t *testing.T) {
	for _, c := range targetCases {
		want, err := requestInfo.NewRequestInfo(&http.Request{Method: c.method, URL: &url.URL{Path: c.path, RawQuery: c.query}})
		if err != nil || !want.IsResourceRequest {
			continue
		}
		if got := namespaceOf(c.path); got != want.Namespace {
			t.Errorf("%s: namespace %q, want %q", c.path, got, want.Namespace)
		}
	}
}

// FuzzTraceContext checks that the API server gets one valid context whatever
// the client sends, in the client's trace if that is one.
func FuzzTraceContext(f *testing.F) {
	const trace0 = "0af7651916cd43dd8448eb211c80319c"
	f.Add("00-"+trace0+"-b7ad6b7169203331-01", "a=1,b=2", "")
	f.Add("00-"+trace0+"-b7ad6b7169203331-01", "", "00-"+trace0+"-b7ad6b7169203331-01")
	f.Add("cc-"+trace0+"-b7ad6b7169203331-01-x", "", "y")
	f.Add("", "a=1", "")
	f.Add("ff-00-00-00", strings.Repeat("k=v,", 200), "x")
	provider := sdk.NewTracerProvider()
	tracing := &Tracing{Tracer: provider.Tracer("test"), Propagator: propagation.TraceContext{}}
	f.Fuzz(func(t *testing.T, parent, state, second string) {
		x := traced(tracing, "GET", "/api/v1/pods")
		x.r.Header["Traceparent"] = []string{parent}
		if second != "" {
			x.r.Header["Traceparent"] = []string{parent, second}
		}
		x.r.Header["Tracestate"] = []string{state}
		x.header = x.r.Header.Clone()
		sent := x.header
		x.traceRequest()
		x.traceAttempt(tracedUpstream)
		got := x.request.Header
		context := tracing.Propagator.Extract(context.Background(), propagation.HeaderCarrier(got))
		inner := trace.SpanContextFromContext(context)
		if len(got["Traceparent"]) != 1 || !inner.IsValid() || inner.SpanID() != x.spans.attempt.SpanContext().SpanID() {
			t.Errorf("the server gets %q", got["Traceparent"])
		}
		if len(strings.Join(got["Tracestate"], ",")) > maxTracestate {
			t.Errorf("the server gets a state of %q", got["Tracestate"])
		}
		if second != "" && strings.Contains(got.Get("Traceparent"), trace0) {
			t.Errorf("two contexts are taken for one: %q", got["Traceparent"])
		}
		if sent.Get("Traceparent") != parent {
			t.Error("a header that an earlier attempt may still read was changed")
		}
		x.endTraceAttempt()
		x.endTraceRequest()
	})
}
