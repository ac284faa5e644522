package daemon_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

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

// TestUploadsThatBreakOff has either side break off while the other half of a
// body is still awaited: each request ends, nothing is sent twice, and the
// daemon serves on. Run with -race: three goroutines meet at the connection.
func TestUploadsThatBreakOff(t *testing.T) {
	r := start(t, servers(t, 2))
	r.all("POST /api/v1/reset", fakeapi.RSTEarly())
	r.all("POST /api/v1/half", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	}))
	r.all("POST /api/v1/never", fakeapi.Never())
	head := func(path string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 40_000)
	}
	const each = 10
	var all sync.WaitGroup
	for range each {
		reset, half, left := r.dial(t), r.dial(t), r.dial(t)
		all.Go(func() {
			if _, err := io.WriteString(reset.conn, head("/api/v1/reset")); err != nil {
				t.Error(err)
			}
			if resp, err := http.ReadResponse(reset.in, nil); err != nil || resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Retry-After") != "" {
				t.Errorf("reset: %+v, %v, want 502 without Retry-After", resp, err)
			}
		})
		all.Go(func() {
			if _, err := io.WriteString(half.conn, head("/api/v1/half")); err != nil {
				t.Error(err)
			}
			resp, err := http.ReadResponse(half.in, nil)
			if err != nil {
				return // the connection's reset was faster
			}
			if got, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("half an answer ends in order after %d bytes", len(got))
			}
		})
		all.Go(func() {
			if _, err := io.WriteString(left.conn, head("/api/v1/never")); err != nil {
				t.Error(err)
			}
			r.do("GET", "/version", "") // some time, with something of use in it
			left.conn.Close()
		})
	}
	all.Wait()
	r.awaitInFlight(0)
	for _, path := range []string{"/api/v1/reset", "/api/v1/half"} {
		if n := r.received("POST " + path); n != each {
			t.Errorf("%s was received %d times, want %d", path, n, each)
		}
	}
	if got := r.do("GET", "/version", ""); got.Code != 200 {
		t.Errorf("afterwards: %+v", got)
	}
}
