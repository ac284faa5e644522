package daemon_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// watch opens a watch and returns its body as lines.
func (r *relay) watch(ctx context.Context, path string, headers ...string) (*http.Response, *bufio.Reader) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", r.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewReader(resp.Body)
}

// TestWatchFlushesAtOnce reads headers before the first event and each event
// before the next is sent: nothing may lie in a buffer.
func TestWatchFlushesAtOnce(t *testing.T) {
	for name, headers := range map[string][]string{
		"kubeconfig's credential, HTTP/2":   nil,
		"client's own credential, HTTP/1.1": {"Authorization", "Bearer " + testToken},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, servers(t, 1))
			w := r.Servers[0].Watch("/api/v1/pods", nil)
			resp, lines := r.watch(t.Context(), "/api/v1/pods?watch=true", headers...)
			if resp.StatusCode != 200 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			w.Await(1)
			for _, kind := range []string{"ADDED", "MODIFIED", "DELETED"} {
				w.Send(kind, map[string]string{"name": "p"})
				line, err := lines.ReadString('\n')
				if err != nil || !strings.Contains(line, kind) {
					t.Fatalf("event %q %v, want %s", line, err, kind)
				}
			}
			w.End()
			if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
				t.Errorf("after the end: %q, %v", rest, err)
			}
			want := "HTTP/2.0"
			if headers != nil {
				want = "HTTP/1.1"
			}
			if got := r.Servers[0].Requests("GET /api/v1/pods")[0].Proto; got != want {
				t.Errorf("the watch went over %s, want %s", got, want)
			}
		})
	}
}

// TestClientLeavesUpstreamIsTold measures nothing: it waits for the server to
// see the end of the request that its client abandoned.
func TestClientLeavesUpstreamIsTold(t *testing.T) {
	r := start(t, servers(t, 1))
	w := r.Servers[0].Watch("/api/v1/pods", nil)
	r.all("GET /api/v1/slow", fakeapi.Never())
	for _, path := range []string{"/api/v1/pods?watch=true", "/api/v1/slow"} {
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			req, err := http.NewRequestWithContext(ctx, "GET", r.URL+path, nil)
			if err == nil {
				var resp *http.Response
				if resp, err = r.Client.Do(req); err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
			left <- err
		}()
		pattern, _, _ := strings.Cut(path, "?")
		r.Servers[0].Await("GET "+pattern, 1)
		cancel()
		begun := time.Now()
		if err := <-left; err == nil {
			t.Errorf("%s: the client's request ended without error", path)
		}
		r.Servers[0].AwaitDone("GET "+pattern, 1)
		t.Logf("%s: the server knew %v after the client left", path, time.Since(begun))
	}
	w.Await(0)
}

// TestBrokenBodyIsNoCleanEnd cuts the upstream's answer: the client must not
// take what it has for the whole.
func TestBrokenBodyIsNoCleanEnd(t *testing.T) {
	for name, fault := range map[string]http.Handler{
		"with a length": fakeapi.RSTMidBody(1<<20, 100_000),
		"chunked":       fakeapi.RSTMidBody(-1, 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, servers(t, 2))
			r.all("GET /api/v1/pods", fault)
			got := r.do("GET", "/api/v1/pods", "")
			if got.Code != 200 || got.Err == nil {
				t.Errorf("code %d, error %v: want 200 and then an error", got.Code, got.Err)
			}
			if n := r.received("GET /api/v1/pods"); n != 1 {
				t.Errorf("%d attempts after response headers, want 1", n)
			}
		})
	}
}

// TestHugeBodies streams 40 MB, ten times what is kept for a retry, through in
// both directions. The end-to-end tests do it with more, and look at memory.
func TestHugeBodies(t *testing.T) {
	const size = 40 << 20
	r := start(t, servers(t, 1))
	r.all("GET /api/v1/huge", fakeapi.Huge(size))
	r.all("PUT /api/v1/huge", fakeapi.Text(200, "taken"))
	want, err := fakeapi.HashOfPattern(size)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.Client.Get(r.URL + "/api/v1/huge")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if err != nil || n != size {
		t.Fatalf("download: %d bytes, %v", n, err)
	}
	req, err := http.NewRequest("PUT", r.URL+"/api/v1/huge", io.LimitReader(fakeapi.Pattern(), size))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = r.Client.Do(req); err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, resp); resp.StatusCode != 200 || body != "taken" {
		t.Fatalf("upload: %d %q", resp.StatusCode, body)
	}
	got := r.Servers[0].AwaitDone("PUT /api/v1/huge", 1)[0]
	if got.BodyBytes != size || got.BodyHash != want {
		t.Errorf("the server got %d bytes with hash %s, want %d and %s", got.BodyBytes, got.BodyHash, size, want)
	}
}

// TestPanicIsLoggedAndLeavesNothingOpen has an upstream answer with a status
// that net/http's server refuses with a panic.
func TestPanicIsLoggedAndLeavesNothingOpen(t *testing.T) {
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

// TestBrokenBodyIsNoCleanEndInHTTP10: there the end of the connection is the
// end of the answer, so a broken answer has to end it with a reset.
func TestBrokenBodyIsNoCleanEndInHTTP10(t *testing.T) {
	r := start(t, servers(t, 1))
	r.all("GET /api/v1/pods", fakeapi.RSTMidBody(-1, 100_000))
	c := r.dial(t)
	c.send("GET /api/v1/pods HTTP/1.0\r\nHost: localhost\r\n\r\n")
	if got, err := io.ReadAll(c.in); err == nil {
		t.Errorf("%d bytes and a clean end", len(got))
	}
}
