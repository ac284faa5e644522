package daemon_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestStopLeavesNoConnection stops a daemon with a client whose request was
// refused and who has not sent its whole body.
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

// TestAdminServesAsLongAsTheDaemon ends the context that was given to Start: it
// bounds the start alone.
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

// TestStopAnswersWhoIsConnected stops a daemon with a client whose connection
// was accepted and who asks only then.
func TestStopAnswersWhoIsConnected(t *testing.T) {
	r := start(t, servers(t, 1))
	begun, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	r.all("GET /api/v1/nodes", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(begun); <-released }))
	r.all("GET /api/v1/namespaces", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	late, slow := r.dial(t), r.dial(t)
	slow.send("GET /api/v1/nodes HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-begun // so the connection before it was accepted, too
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- r.Daemon.Stop(ctx) }()
	address := late.conn.RemoteAddr().String()
	for { // until it has closed its listeners
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		c.Close()
	}
	late.send("GET /api/v1/namespaces HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if got := late.receive("GET"); got.Code != 200 {
		t.Errorf("the late request: HTTP %d, want 200", got.Code)
	}
	late.rest() // fails when the connection is still open
	release()
	if got := slow.receive("GET"); got.Code != 200 {
		t.Errorf("the slow request: HTTP %d, want 200", got.Code)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestDrainEndsWatchesAtAFrame stops the daemon while one watch waits between
// two events and another is in the middle of one.
func TestDrainEndsWatchesAtAFrame(t *testing.T) {
	r := start(t, servers(t, 1))
	between := r.Servers[0].Watch("/api/v1/between", nil)
	inside := r.Servers[0].Watch("/api/v1/inside", nil)
	_, a := r.watch(t.Context(), "/api/v1/between?watch=true")
	_, b := r.watch(t.Context(), "/api/v1/inside?watch=true")
	between.Await(1)
	inside.Await(1)
	between.Raw([]byte("{\"type\":\"ADDED\"}\n"))
	inside.Raw([]byte("{\"type\":"))
	if line, err := a.ReadString('\n'); err != nil {
		t.Fatalf("%q %v", line, err)
	}
	half := make([]byte, len("{\"type\":"))
	if _, err := io.ReadFull(b, half); err != nil {
		t.Fatal(err)
	}

	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stopped <- r.Daemon.Stop(ctx)
	}()
	if rest, err := io.ReadAll(a); err != nil || len(rest) != 0 {
		t.Errorf("the waiting watch ends with %q, %v: want a clean end", rest, err)
	}
	inside.Raw([]byte("\"ADDED\"}\n{\"type\":\"MOD"))
	if rest, err := io.ReadAll(b); err != nil || string(rest) != "\"ADDED\"}\n" {
		t.Errorf("the watch inside a frame ends with %q, %v: want the frame's rest and a clean end", rest, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestDrainBreaksLogsOff stops the daemon under `kubectl logs -f`: a clean end
// would pass for the end of the log.
func TestDrainBreaksLogsOff(t *testing.T) {
	r := start(t, servers(t, 1))
	chunks := make(chan string, 1)
	defer close(chunks)
	r.all("GET /api/v1/namespaces/x/pods/p/log", fakeapi.Chunks(chunks))
	_, log := r.watch(t.Context(), "/api/v1/namespaces/x/pods/p/log?follow=true")
	chunks <- "a line\n"
	if line, err := log.ReadString('\n'); err != nil || line != "a line\n" {
		t.Fatalf("%q %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.Daemon.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	if rest, err := io.ReadAll(log); err == nil || len(rest) != 0 {
		t.Errorf("the log ends with %q, %v: want it broken off", rest, err)
	}
}

// TestDrainLetsShortRequestsFinish stops the daemon while a request is being
// answered.
func TestDrainLetsShortRequestsFinish(t *testing.T) {
	r := start(t, servers(t, 1))
	release := make(chan struct{})
	r.all("GET /api/v1/pods", fakeapi.Until(release, fakeapi.Text(200, "finished")))
	answered := make(chan reply, 1)
	go func() { answered <- r.do("GET", "/api/v1/pods", "") }()
	r.Servers[0].Await("GET /api/v1/pods", 1)
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		stopped <- r.Daemon.Stop(ctx)
	}()
	r.await("the listener is closed", func() bool { return r.do("GET", "/version", "").Err != nil })
	close(release)
	if got := <-answered; got.Err != nil || got.Body != "finished" {
		t.Errorf("answer %+v, want it finished", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestGraceTimeCutsWhatIsLeft stops the daemon with a request that never ends.
func TestGraceTimeCutsWhatIsLeft(t *testing.T) {
	r := start(t, servers(t, 1))
	r.all("GET /api/v1/pods", fakeapi.Never())
	answered := make(chan reply, 1)
	go func() { answered <- r.do("GET", "/api/v1/pods", "") }()
	r.Servers[0].Await("GET /api/v1/pods", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := r.Daemon.Stop(ctx); err == nil || !strings.Contains(err.Error(), "1 requests were still in flight") {
		t.Errorf("stop: %v, want what was cut", err)
	}
	if got := <-answered; got.Err == nil && got.Code != http.StatusBadGateway {
		t.Errorf("answer %+v, want 502 or a broken connection", got)
	}
}
