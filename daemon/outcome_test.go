package daemon_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestOutcomeTable brings one fault to the server that the client is bound to
// and holds the client's answer, the number of attempts, and the server's
// breaker and state to the outcome table.
func TestOutcomeTable(t *testing.T) {
	ok := fakeapi.Text(200, "fine")
	const pods = "/api/v1/namespaces/x/pods"
	for _, c := range []struct {
		name         string
		method, path string
		fault        http.Handler
		code         int    // at the client
		body         string // part of it
		attempts     int    // requests that reached any server
		retryAfter   string
	}{
		{"429 of priority and fairness passes", "GET", pods, fakeapi.APF(), 429, "Too many requests", 1, "1"},
		{"429 of an eviction passes", "POST", pods + "/p/eviction", fakeapi.EvictionRefused429(), 429, "disruption budget", 1, "*"},
		{"429 shutting down: read", "GET", pods, fakeapi.ShuttingDown429(), 200, "fine", 2, ""},
		{"429 shutting down: create", "POST", pods, fakeapi.ShuttingDown429(), 200, "fine", 2, ""},
		{"503 shutting down: read", "GET", pods, fakeapi.ShuttingDown503(), 200, "fine", 2, ""},
		{"503 shutting down: create", "POST", pods, fakeapi.ShuttingDown503(), 200, "fine", 2, ""},
		{"503 starting: create", "POST", pods, fakeapi.Starting503(), 200, "fine", 2, ""},
		{"429 cold cache: read", "GET", pods, fakeapi.Initializing429(), 200, "fine", 2, ""},
		{"429 cold cache: create passes", "POST", pods, fakeapi.Initializing429(), 429, "initializing", 1, "*"},
		{"500 of a webhook passes", "POST", pods, fakeapi.Webhook500(), 500, "webhook", 1, ""},
		{"500 of a kubelet passes", "GET", pods + "/p/log", fakeapi.Kubelet500(), 500, "", 1, ""},
		{"503 of a service proxy passes", "GET", "/api/v1/namespaces/x/services/s/proxy/", fakeapi.Text(503, "away"), 503, "away", 1, ""},
		{"503 of an aggregated API passes", "GET", "/apis/metrics.k8s.io/v1beta1/nodes", fakeapi.Aggregated503(), 503, "service unavailable", 1, ""},
		{"504 of a resource version that is too large passes", "GET", pods, fakeapi.TooLargeResourceVersion504(), 504, "ResourceVersionTooLarge", 1, "*"},
		{"504 of the API server: read", "GET", pods, fakeapi.Timeout504(), 200, "fine", 2, ""},
		{"504 of the API server: create passes", "POST", pods, fakeapi.Timeout504(), 504, "", 1, ""},
		{"502: read", "GET", pods, fakeapi.Text(502, "bad gateway"), 200, "fine", 2, ""},
		{"502: create passes", "POST", pods, fakeapi.Text(502, "bad gateway"), 502, "bad gateway", 1, ""},
		{"connection reset: read", "GET", pods, fakeapi.RST(), 200, "fine", 2, ""},
		{"connection reset: create is lost", "POST", pods, fakeapi.RST(), 502, `"reason":"InternalError"`, 1, ""},
		{"connection reset: dry run", "POST", pods + "?dryRun=All", fakeapi.RST(), 200, "fine", 2, ""},
		{"connection reset: access review", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", fakeapi.RST(), 200, "fine", 2, ""},
		{"connection closed: read", "GET", pods, fakeapi.Hangup(), 200, "fine", 2, ""},
		{"connection closed: patch is lost", "PATCH", pods + "/p", fakeapi.Hangup(), 502, "may have been processed", 1, ""},
		{"404 passes", "GET", pods + "/p", fakeapi.Text(404, "nope"), 404, "nope", 1, ""},
		{"409 passes", "PUT", pods + "/p", fakeapi.Text(409, "conflict"), 409, "conflict", 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, servers(t, 2))
			bound := r.bound()
			path, _, _ := strings.Cut(c.path, "?")
			pattern := c.method + " " + path
			r.Servers[bound].Handle(pattern, c.fault)
			r.Servers[1-bound].Handle(pattern, ok)
			body := ""
			if c.method != http.MethodGet {
				body = `{"metadata":{"name":"x"}}`
			}
			got := r.do(c.method, c.path, body)
			if got.Err != nil || got.Code != c.code || !strings.Contains(got.Body, c.body) {
				t.Errorf("answer %d %q %v, want %d with %q", got.Code, got.Body, got.Err, c.code, c.body)
			}
			if n := r.received(pattern); n != c.attempts {
				t.Errorf("%d requests reached the servers, want %d", n, c.attempts)
			}
			if after := got.Header.Get("Retry-After"); after != c.retryAfter && (c.retryAfter != "*" || after == "") {
				t.Errorf("Retry-After %q, want %q", after, c.retryAfter)
			}
			if s := r.state(bound); s.Breaker != "closed" {
				t.Errorf("one such answer moved the breaker: %+v", s)
			}
		})
	}
}

// TestAnswersFromBeyondMoveNoBreaker repeats what is no fault of the API
// server many times more often than a breaker takes.
func TestAnswersFromBeyondMoveNoBreaker(t *testing.T) {
	r := start(t, servers(t, 2))
	bound := r.bound()
	for path, fault := range map[string]http.Handler{
		"/api/v1/namespaces/x/pods":                   fakeapi.Webhook500(),
		"/api/v1/namespaces/x/pods/p/log":             fakeapi.Kubelet500(),
		"/apis/metrics.k8s.io/v1beta1/nodes":          fakeapi.Aggregated503(),
		"/api/v1/namespaces/x/services/s/proxy/":      fakeapi.Text(502, "bad gateway"),
		"/apis/apps/v1/namespaces/x/deployments":      fakeapi.APF(),
		"/api/v1/namespaces/x/configmaps":             fakeapi.TooLargeResourceVersion504(),
		"/apis/batch/v1/namespaces/x/jobs/j/finalize": fakeapi.Text(404, "not found"),
	} {
		r.all("GET "+path, fault)
		for range 30 {
			if got := r.do("GET", path, ""); got.Err != nil || got.Code < 400 {
				t.Fatalf("%s: %d %v, want the fault to pass", path, got.Code, got.Err)
			}
		}
		if s := r.state(bound); s.Breaker != "closed" || s.State != "READY" {
			t.Errorf("after 30 × %s: breaker %s, state %s, want closed and READY", path, s.Breaker, s.State)
		}
	}
}

// TestBreakerOpensAndTheProbeClosesIt gives a server that fails its requests
// while its probes pass.
func TestBreakerOpensAndTheProbeClosesIt(t *testing.T) {
	r := start(t, servers(t, 2))
	bound := r.bound()
	const path = "/api/v1/namespaces/x/pods"
	r.Servers[bound].Handle("GET "+path, fakeapi.Text(503, "overloaded"))
	r.Servers[1-bound].Handle("GET "+path, fakeapi.Text(200, "fine"))
	for i := range 20 {
		if got := r.do("GET", path, ""); got.Code != 200 {
			t.Fatalf("read %d: %d %s", i, got.Code, got.Body)
		}
	}
	if s := r.state(bound); s.Breaker != "open" {
		t.Errorf("breaker %s after 5 failures in a row, want open", s.Breaker)
	}
	if n := len(r.Servers[bound].Requests("GET " + path)); n != 5 {
		t.Errorf("%d reads reached the failing server, want 5: then its breaker is open", n)
	}
}

func TestAPFAnswerIsByteIdentical(t *testing.T) {
	r := start(t, servers(t, 1))
	r.all("GET /api/v1/pods", fakeapi.APF())
	direct := &http.Client{Transport: transportFor(t, r.Servers[0])}
	defer direct.CloseIdleConnections()
	req, err := http.NewRequest("GET", r.Servers[0].URL+"/api/v1/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := direct.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	want := readAll(t, resp)
	got := r.do("GET", "/api/v1/pods", "")
	if got.Code != resp.StatusCode || got.Body != want {
		t.Errorf("answer %d %q, want %d %q", got.Code, got.Body, resp.StatusCode, want)
	}
	for name, values := range resp.Header {
		if name == "Date" || name == "Audit-Id" {
			continue
		}
		if strings.Join(got.Header[name], "\n") != strings.Join(values, "\n") {
			t.Errorf("header %s: %q, want %q", name, got.Header[name], values)
		}
	}
}

// TestShutdownOfWhatIsBeyondIsNotTheServers has a pod and an aggregated API
// answer as an API server does that shuts down.
func TestShutdownOfWhatIsBeyondIsNotTheServers(t *testing.T) {
	r := start(t, servers(t, 2))
	bound := r.bound()
	const pod = "/api/v1/namespaces/x/pods/p/proxy/api"
	fault := fakeapi.ShuttingDown503()
	r.all("POST "+pod, fault)
	if got := r.do("POST", pod, "{}"); got.Code != 503 {
		t.Errorf("answer %+v, want the pod's", got)
	}
	if n := r.received("POST " + pod); n != 1 {
		t.Errorf("the pod got the request %d times, want once", n)
	}
	const metrics = "/apis/metrics.k8s.io/v1beta1/nodes"
	r.all("GET "+metrics, fault)
	if got := r.do("GET", metrics, ""); got.Code != 503 {
		t.Errorf("answer %+v, want the aggregated API's", got)
	}
	if n := r.received("GET " + metrics); n > 2 {
		t.Errorf("the aggregated API was asked %d times, want twice at most", n)
	}
	if n := r.Logs.FilterMessage("API server is DEGRADED").Len(); n != 0 {
		t.Errorf("%d changes to DEGRADED, want none: %+v", n, r.state(bound))
	}
	// The API server's own says so by its Connection: close.
	r.Servers[bound].Handle("POST "+pod, fakeapi.ShuttingDown429())
	r.Servers[1-bound].Handle("POST "+pod, fakeapi.Text(200, "fine"))
	if got := r.do("POST", pod, "{}"); got.Code != 200 {
		t.Errorf("answer %+v, want the other API server's", got)
	}
}

// TestBrokenAnswerOfAnAggregatedAPIMovesNoBreaker: the API server breaks its own
// answer off when that of the aggregated API breaks off, and is not to blame.
func TestBrokenAnswerOfAnAggregatedAPIMovesNoBreaker(t *testing.T) {
	r := start(t, servers(t, 1))
	r.all("GET /apis/metrics.k8s.io/v1beta1/nodes", fakeapi.RSTMidBody(1<<20, 1000))
	for range 10 {
		if got := r.do("GET", "/apis/metrics.k8s.io/v1beta1/nodes", ""); got.Err == nil {
			t.Fatalf("answer %+v, want it broken off", got)
		}
	}
	if s := r.state(0); s.Breaker != "closed" || r.Logs.FilterMessage("API server is SUSPECT").Len() != 0 {
		t.Errorf("breaker %s, state %s (%s), want closed and READY all the time", s.Breaker, s.State, s.Reason)
	}
}
