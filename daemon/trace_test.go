package daemon_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/proxy"
)

// A client's trace context (W3C Trace Context, section 3.2).
const (
	clientTrace  = "0af7651916cd43dd8448eb211c80319c"
	clientSpan   = "b7ad6b7169203331"
	clientParent = "00-" + clientTrace + "-" + clientSpan + "-01"
)

// recorded are the spans of a daemon.
type recorded struct {
	t testing.TB
	*tracetest.SpanRecorder
}

func newRecorded(t testing.TB) (*recorded, *proxy.Tracing) {
	r := &recorded{t, tracetest.NewSpanRecorder()}
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(r))
	return r, &proxy.Tracing{Tracer: provider.Tracer("test"), Propagator: propagation.TraceContext{}}
}

// await returns the only span of a request, and those of its attempts.
func (r *recorded) await() (request sdk.ReadOnlySpan, attempts []sdk.ReadOnlySpan) {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(r.Ended()) == 0 || len(r.Ended()) < len(r.Started()) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%d spans have ended of %d", len(r.Ended()), len(r.Started()))
		}
		<-tick.C
	}
	for _, s := range r.Ended() {
		switch {
		case s.SpanKind() == trace.SpanKindClient:
			attempts = append(attempts, s)
		case request == nil:
			request = s
		default:
			r.t.Fatalf("a second request: %s", s.Name())
		}
	}
	r.Reset()
	for _, a := range attempts {
		if a.Parent().SpanID() != request.SpanContext().SpanID() || a.SpanContext().TraceID() != request.SpanContext().TraceID() {
			r.t.Errorf("attempt of %v, want of %v", a.Parent(), request.SpanContext())
		}
	}
	return request, attempts
}

// about is a span's attribute as text; "": there is none.
func about(s sdk.ReadOnlySpan, key attribute.Key) string {
	for _, kv := range s.Attributes() {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return ""
}

// startTraced is [start] with tracing.
func startTraced(t testing.TB, n int, tracing *proxy.Tracing, edit ...func(*config.Configuration)) *relay {
	t.Helper()
	all := servers(t, n)
	cfg := configuration(all)
	for _, e := range edit {
		e(cfg)
	}
	core, logs := observer.New(zap.DebugLevel)
	d, err := daemon.New(cfg, daemon.Options{Log: zap.New(core), Version: "v0-test", Tracing: tracing})
	if err != nil {
		t.Fatal(err)
	}
	r := relayOf(t, d, all, logs)
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.URL = "http://" + d.Addr("proxy").String()
	for i := range all {
		r.awaitState(i, "READY")
	}
	return r
}

// TestTraceOfARetry has one server lose the request: two attempts are two spans
// below one, and each server is told its own.
func TestTraceOfARetry(t *testing.T) {
	spans, tracing := newRecorded(t)
	r := startTraced(t, 2, tracing)
	bound := r.bound()
	spans.await()
	const path = "/api/v1/namespaces/team-a/pods"
	r.Servers[bound].Handle("GET "+path, fakeapi.RSTEarly())
	r.Servers[1-bound].Handle("GET "+path, fakeapi.Text(200, "fine"))
	if got := r.do("GET", path+"?limit=1", "", "Traceparent", clientParent, "Tracestate", "a=1", "Tracestate", "b=2"); got.Code != 200 {
		t.Fatalf("answer %+v", got)
	}
	request, attempts := spans.await()
	if request.SpanContext().TraceID().String() != clientTrace || request.Parent().SpanID().String() != clientSpan || !request.Parent().IsRemote() {
		t.Errorf("request in %v below %v, want it below the client's span", request.SpanContext(), request.Parent())
	}
	if request.Name() != "GET pods" || request.SpanKind() != trace.SpanKindServer || request.Status().Code != codes.Unset {
		t.Errorf("request %q, kind %v, status %v", request.Name(), request.SpanKind(), request.Status())
	}
	for key, want := range map[attribute.Key]string{
		"http.request.method": "GET", "http.response.status_code": "200", "url.scheme": "http", "network.protocol.version": "1.1",
		"k8s.namespace.name": "team-a", "kuberelay.verb": "list", "kuberelay.resource": "pods", "kuberelay.cluster": "test",
		"kuberelay.listener": "proxy", "kuberelay.upstream": r.Servers[1-bound].Addr, "http.response.body.size": "4", "error.type": "",
	} {
		if got := about(request, key); got != want {
			t.Errorf("request: %s is %q, want %q", key, got, want)
		}
	}
	// The first server may be tried again over another connection.
	if n := len(attempts); n < 2 || about(request, "kuberelay.attempts") != fmt.Sprint(n) {
		t.Fatalf("%d attempts, and the request says %s", n, about(request, "kuberelay.attempts"))
	}
	for i, a := range attempts {
		on, resend := r.Servers[bound], fmt.Sprint(i)
		if i == 0 {
			resend = ""
		}
		outcome, status, failed := about(a, "kuberelay.outcome"), "", codes.Error
		if i == len(attempts)-1 {
			on, status, failed = r.Servers[1-bound], "200", codes.Unset
			if outcome != "success" || len(a.Events()) != 1 {
				t.Errorf("last attempt: %s, events %v", outcome, a.Events())
			}
		} else if about(a, "error.type") != outcome || outcome != "reset" && outcome != "stale" {
			t.Errorf("attempt %d: %s, error.type %s", i, outcome, about(a, "error.type"))
		}
		if about(a, "kuberelay.upstream") != on.Addr || about(a, "server.address") != "127.0.0.1" || about(a, "http.request.resend_count") != resend ||
			about(a, "http.response.status_code") != status || a.Status().Code != failed || a.Name() != "GET pods" {
			t.Errorf("attempt %d: %s, status %v, %v", i, a.Name(), a.Status(), a.Attributes())
		}
		told := false
		for _, got := range on.Requests("GET " + path) {
			told = told || got.Header.Get("Traceparent") == "00-"+clientTrace+"-"+a.SpanContext().SpanID().String()+"-01" &&
				got.Header.Get("Tracestate") == "a=1,b=2" && len(got.Header["Traceparent"]) == 1
		}
		if !told {
			t.Errorf("attempt %d is not what the server was told: %+v", i, on.Requests("GET "+path))
		}
	}
}

// TestTraceContextOfAClient sends what is a context and what is none. With
// tracing there is always one for the server; without, it is the client's.
func TestTraceContextOfAClient(t *testing.T) {
	spans, tracing := newRecorded(t)
	on := startTraced(t, 1, tracing)
	off := startTraced(t, 1, nil)
	apart := startTraced(t, 1, &proxy.Tracing{Tracer: tracing.Tracer}) // OTEL_PROPAGATORS=none
	long := "k=" + strings.Repeat("v", 600)
	for i, tc := range []struct {
		name    string
		headers []string
		taken   bool
	}{
		{"none", nil, false},
		{"one that is not sampled", []string{"Traceparent", strings.TrimSuffix(clientParent, "1") + "0"}, true},
		{"one of a later version", []string{"Traceparent", "cc-" + clientTrace + "-" + clientSpan + "-01-more"}, true},
		{"one with a long state", []string{"Traceparent", clientParent, "Tracestate", long}, true},
		{"not of the form", []string{"Traceparent", "canary", "Tracestate", "canary=1"}, false},
		{"of zeros", []string{"Traceparent", "00-" + strings.Repeat("0", 32) + "-" + clientSpan + "-01", "Tracestate", "a=1"}, false},
		{"two", []string{"Traceparent", clientParent, "Traceparent", clientParent}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spans.t = t
			path := fmt.Sprintf("/api/v1/nodes/n%d", i)
			for _, r := range []*relay{on, off, apart} {
				r.all("GET "+path, fakeapi.Text(200, "fine"))
				spans.Reset()
				if got := r.do("GET", path, "", tc.headers...); got.Code != 200 {
					t.Fatalf("answer %+v", got)
				}
				got := r.Servers[0].Requests("GET " + path)[0].Header
				if r != on { // the client's own words
					sent := http.Header{}
					for i := 0; i < len(tc.headers); i += 2 {
						sent.Add(tc.headers[i], tc.headers[i+1])
					}
					for _, name := range []string{"Traceparent", "Tracestate"} {
						if fmt.Sprint(got[name]) != fmt.Sprint(sent[name]) {
							t.Errorf("%s %q, want the client's %q", name, got[name], sent[name])
						}
					}
					continue
				}
				parent := got["Traceparent"]
				if len(parent) != 1 || len(parent[0]) != len(clientParent) || strings.Contains(parent[0], clientSpan) || strings.Contains(parent[0], clientTrace) != tc.taken {
					t.Errorf("traceparent %q, in the client's trace: want %v", parent, tc.taken)
				}
				if _, found := got["Tracestate"]; found {
					t.Errorf("tracestate %q, want none", got["Tracestate"])
				}
			}
			spans.await()
		})
	}
}

// TestTraceOfStreams follows a watch, which goes over HTTP/2, and a tunnel.
func TestTraceOfStreams(t *testing.T) {
	spans, tracing := newRecorded(t)
	r := startTraced(t, 1, tracing)
	w := r.Servers[0].Watch("/api/v1/pods", nil)
	resp, lines := r.watch(t.Context(), "/api/v1/pods?watch=true")
	w.Await(1)
	w.Send("ADDED", map[string]string{"name": "p"})
	if _, err := lines.ReadString('\n'); err != nil || resp.StatusCode != 200 {
		t.Fatalf("watch: %d, %v", resp.StatusCode, err)
	}
	if n := len(spans.Ended()); n != 0 {
		t.Errorf("%d spans have ended while the watch is open", n)
	}
	told := r.Servers[0].Requests("GET /api/v1/pods")[0].Header.Get("Traceparent")
	w.Cut()
	request, attempts := spans.await()
	if len(attempts) != 1 || !strings.Contains(told, attempts[0].SpanContext().SpanID().String()) || about(attempts[0], "network.protocol.version") != "2.0" {
		t.Fatalf("the server was told %q, attempts %v", told, attempts)
	}
	if about(request, "error.type") != "upstream" || request.Status().Code != codes.Error || about(attempts[0], "error.type") != "reset" {
		t.Errorf("the end is not seen: %v, %v", request.Attributes(), attempts[0].Attributes())
	}

	const exec = "/api/v1/namespaces/x/pods/p/portforward"
	r.all("GET "+exec, fakeapi.Upgrade("hi"))
	if err := r.tunnel(exec, "hi", []byte("ping")); err != nil {
		t.Fatal(err)
	}
	request, attempts = spans.await()
	if len(attempts) != 1 || about(attempts[0], "http.response.status_code") != "101" || about(request, "kuberelay.subresource") != "portforward" || request.Name() != "GET pods" {
		t.Errorf("tunnel: %s %v, attempts %v", request.Name(), request.Attributes(), attempts)
	}
}

// TestTraceOfFailures wants one span of each request that cannot be answered.
func TestTraceOfFailures(t *testing.T) {
	spans, tracing := newRecorded(t)
	r := startTraced(t, 1, tracing, func(cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = time.Millisecond
	})
	for _, tc := range []struct {
		name, path    string
		answer        http.Handler
		status, wrong string // of the request; error.type
	}{
		{"an object that is not there", "/api/v1/nodes/a", fakeapi.Text(404, "none"), "404", ""},
		{"an error of the server's", "/api/v1/nodes/b", fakeapi.Text(500, "broken"), "500", "500"},
		{"an answer that breaks off", "/api/v1/nodes/c", fakeapi.RSTMidBody(1<<20, 1000), "200", "upstream"},
		{"no answer", "/api/v1/nodes/d", fakeapi.RSTEarly(), "502", "502"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spans.t = t
			r.all("GET "+tc.path, tc.answer)
			r.do("GET", tc.path, "")
			request, _ := spans.await()
			if about(request, "http.response.status_code") != tc.status || about(request, "error.type") != tc.wrong || (request.Status().Code == codes.Error) != (tc.wrong != "") {
				t.Errorf("status %v, %v", request.Status(), request.Attributes())
			}
		})
	}
}

// TestSharedTraceHasNoSecret sends secrets and names wherever a request has
// room for them, and looks for them in the spans. What is refused makes none.
func TestSharedTraceHasNoSecret(t *testing.T) {
	t.Parallel()
	var spans *recorded
	r := startTeam(t, 1, func(r *team, _ *config.Configuration) { spans, r.tracing = newRecorded(t) })
	const canary = "canary-name"
	headers := []string{
		"Authorization", "Bearer " + aliceToken, "Cookie", "canary-cookie", "X-Canary", "canary-header", "User-Agent", "canary-agent",
		"Audit-Id", "canary-audit-id", "Baggage", "k=canary-baggage", "Traceparent", clientParent,
	}
	for _, path := range []string{pods + "/" + canary, "/apis/" + canary + "/v1/" + canary, pods + "/p/proxy/" + canary, "/" + canary} {
		if got := r.do("POST", path+"?"+canary+"=canary-query", "canary-body", headers...); got.Code != 200 {
			t.Fatalf("%s: %+v", path, got)
		}
		request, attempts := spans.await()
		if about(request, "kuberelay.client") != "alice" || len(attempts) != 1 {
			t.Errorf("%s: %v, %d attempts", path, request.Attributes(), len(attempts))
		}
		text := fmt.Sprintf("%+v", tracetest.SpanStubsFromReadOnlySpans(append(attempts, request)))
		if strings.Contains(text, "canary") || strings.Contains(text, brokerToken) {
			t.Errorf("%s: the spans have %s", path, text)
		}
	}
	if seen := r.Servers[0].Requests("POST " + pods + "/" + canary)[0].Header; seen.Get("Baggage") != "k=canary-baggage" || !strings.Contains(seen.Get("Traceparent"), clientTrace) {
		t.Errorf("the server got %v", seen)
	}
	r.do("GET", pods, "", "Authorization", "Bearer nobody", "Traceparent", clientParent)
	r.do("GET", secrets, "", "Authorization", "Bearer "+bobToken, "Traceparent", clientParent)
	if n := len(spans.Started()); n != 0 {
		t.Errorf("%d spans of requests that were refused, want none", n)
	}
}
