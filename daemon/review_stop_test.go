package daemon_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestAnswerDoesNotWaitForAStalledUpload has the API server answer before the
// client has sent its whole body, which the client then keeps back.
func TestAnswerDoesNotWaitForAStalledUpload(t *testing.T) {
	r := start(t, servers(t, 1))
	r.all("POST /api/v1/pods", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "large")
	}))
	c := r.dial(t)
	c.send("POST /api/v1/pods HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 20_000))
	if got := c.receive("POST"); got.Code != 413 || got.Body != "large" {
		t.Errorf("answer %d %q, want the API server's 413", got.Code, got.Body)
	}
}

// TestStopLeavesNoConnection stops a daemon with a client whose request was
// refused and who keeps its body back.
func TestStopLeavesNoConnection(t *testing.T) {
	r := start(t, servers(t, 1))
	c := r.dial(t)
	c.send("POST /api/v1/namespaces/x/pods/p/exec HTTP/1.1\r\nHost: evil.example.org\r\nContent-Length: 100\r\n\r\nhalf")
	r.awaitMetric("kuberelay_denied_total", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := r.Daemon.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	c.rest() // fails when the connection is still open
	select {
	case err := <-r.Daemon.Failed():
		t.Errorf("a stop is no failure: %v", err)
	default:
	}
}

// TestAdminServesAsLongAsTheDaemon ends the context that bounds the start.
func TestAdminServesAsLongAsTheDaemon(t *testing.T) {
	d := newDaemon(t, configuration([]*fakeapi.Server{fakeapi.New(t, fakeapi.Options{})}))
	ctx, cancel := context.WithCancel(t.Context())
	if err := d.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 20 { // the server's end would take a moment
		resp, err := http.Get("http://" + d.AdminAddr().String() + "/healthz")
		if err != nil {
			t.Fatalf("after the start's context has ended: %v", err)
		}
		if body := readAll(t, resp); body != "ok\n" {
			t.Fatalf("healthz: %q", body)
		}
	}
}

// TestPanicIsSeenAndLeavesNothingOpen has an upstream answer with a status
// that net/http's server does not take.
func TestPanicIsSeenAndLeavesNothingOpen(t *testing.T) {
	r := start(t, servers(t, 1))
	r.all("GET /api/v1/pods", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(99) }))
	if got := r.do("GET", "/api/v1/pods?watch=true", ""); got.Err == nil {
		t.Errorf("answer %+v, want the connection broken off", got)
	}
	if n := r.Logs.FilterMessageSnippet("panic serving").Len(); n != 1 {
		t.Errorf("%d lines about the panic, want 1", n)
	}
	if in := r.Daemon.Status().InFlight; in != (admin.InFlightStatus{}) {
		t.Errorf("in flight: %+v, want nothing", in)
	}
	r.awaitMetric(`kuberelay_streams{kind="watch"}`, "0")
}

// awaitMetric waits until a series that begins with name has the value.
func (r *relay) awaitMetric(name, value string) {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		resp, err := http.Get("http://" + r.Daemon.AdminAddr().String() + "/metrics")
		if err != nil {
			r.t.Fatal(err)
		}
		for line := range strings.Lines(readAll(r.t, resp)) {
			if strings.HasPrefix(line, name) && strings.HasSuffix(line, " "+value+"\n") {
				return
			}
		}
	}
	r.t.Fatalf("no series %s has the value %s", name, value)
}

// TestBrokenBodyIsNoCleanEndInHTTP10: there the connection's end is the
// answer's, and must not look like one in order.
func TestBrokenBodyIsNoCleanEndInHTTP10(t *testing.T) {
	r := start(t, servers(t, 1))
	r.all("GET /api/v1/pods", fakeapi.RSTMidBody(-1, 100_000))
	c := r.dial(t)
	c.send("GET /api/v1/pods HTTP/1.0\r\nHost: localhost\r\n\r\n")
	if got, err := io.ReadAll(c.in); err == nil {
		t.Errorf("%d bytes and a clean end", len(got))
	}
}
