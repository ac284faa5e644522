package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// TestReplayBodyAnswersWhileTheClientIsReadFrom has a client that sends half
// of its body and then nothing: only the readers wait for it.
func TestReplayBodyAnswersWhileTheClientIsReadFrom(t *testing.T) {
	in, client := io.Pipe()
	asked := make(chan struct{}, 10)
	b := newReplayBody(io.NopCloser(readerFunc(func(p []byte) (int, error) {
		asked <- struct{}{}
		return in.Read(p)
	})), 100)
	read := make(chan string)
	for range 2 { // a lost attempt's reader, and the next attempt's
		go func() {
			got, err := io.ReadAll(b.reader())
			if err != nil {
				t.Errorf("read: %v", err)
			}
			read <- string(got)
		}()
	}
	<-asked
	if _, err := io.WriteString(client, "half, "); err != nil {
		t.Fatal(err)
	}
	<-asked // the client is waited for
	within(t, func() {
		if !b.rewindable() {
			t.Error("not rewindable while it comes")
		}
	})
	if _, err := io.WriteString(client, "half"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for range 2 {
		if got := <-read; got != "half, half" {
			t.Errorf("read %q", got)
		}
	}
}

func TestReplayBodyIsReleasedWhileTheClientIsReadFrom(t *testing.T) {
	in, client := io.Pipe()
	asked := make(chan struct{}, 10)
	b := newReplayBody(io.NopCloser(readerFunc(func(p []byte) (int, error) {
		asked <- struct{}{}
		return in.Read(p)
	})), 100)
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = b.reader().Read(make([]byte, 1)) })
	<-asked
	within(t, b.release)
	client.Close()
	reader.Wait()
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// within fails the test when f waits for something.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it waits")
	}
}

// TestWatchConnectionsAreDialedWithinTheLimits has an address at which nothing
// answers, neither to the dial nor to the handshake.
func TestWatchConnectionsAreDialedWithinTheLimits(t *testing.T) {
	for name, dial := range map[string]func(ctx context.Context, network, address string) (net.Conn, error){
		"black hole": func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"handshake": func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				_, _ = io.Copy(io.Discard, server)
				server.Close()
			}()
			return client, nil
		},
		"handshake broken off": func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				_, _ = server.Read(make([]byte, 1))
				server.Close()
			}()
			return client, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := NewUpstream(UpstreamOptions{ID: "u", URL: &url.URL{Scheme: "https", Host: "u:6443"}, TLS: &tls.Config{ServerName: "u"}, Dial: dial})
				defer u.Close()
				begun := time.Now()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://u:6443/api/v1/pods?watch=1", nil)
				if err != nil {
					t.Fatal(err)
				}
				_, err = u.own.http2.RoundTrip(req)
				if took := time.Since(begun); err == nil || took > h1.DefaultDialTimeout+h1.DefaultHandshakeTimeout {
					t.Fatalf("%v after %v", err, took)
				}
				if v := judgeError(t.Context(), err); v.resend != resendAny {
					t.Errorf("%v: %+v, want any request to go to another server", err, v)
				}
			})
		})
	}
}

// TestNoRetryAfterOnceAnAttemptWasLost answers after a last attempt that was
// refused, when one before it may have been processed.
func TestNoRetryAfterOnceAnAttemptWasLost(t *testing.T) {
	for uncertain, code := range map[bool]int{false: 503, true: 502} {
		w := httptest.NewRecorder()
		x := &exchange{w: w, r: httptest.NewRequest(http.MethodGet, "/api", nil), uncertain: uncertain}
		x.failAttempt(verdictRefused, errors.New("connection refused"))
		if after := w.Header().Get("Retry-After"); w.Code != code || (after != "") != (code == 503) {
			t.Errorf("uncertain %t: %d with Retry-After %q, want %d", uncertain, w.Code, after, code)
		}
	}
}

type served struct {
	Recorder
	Groups
	open int
}

func (s *served) Begin(string, string)                       { s.open++ }
func (s *served) End(string, *Record)                        { s.open-- }
func (s *served) Lookup(string, string) (group, kind string) { return "", "" }
func (s *served) Aggregated(string, string) bool             { return false }

// TestPanicLeavesNothingBehind: net/http survives a handler's panic, and then
// nobody may wait for the request any more.
func TestPanicLeavesNothingBehind(t *testing.T) {
	var registry Registry
	s := &served{}
	h := NewHandler(Options{
		Cluster:  &Cluster{Pool: balancer.NewPool[*Upstream](balancer.DefaultConfig(), balancer.Options{}), Groups: s}, // no Credentials: a nil dereference
		Registry: &registry, Recorder: s, APIPrefix: "/",
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api", nil))
	}()
	if registry.Len() != 0 || s.open != 0 {
		t.Errorf("%d flights and %d records left open", registry.Len(), s.open)
	}
}

// TestHintsEndWithTheAttempt has the connection's goroutine come late.
func TestHintsEndWithTheAttempt(t *testing.T) {
	w := httptest.NewRecorder()
	h := hints{x: &exchange{w: w, r: httptest.NewRequest(http.MethodGet, "/api", nil)}}
	h.end()
	h.x = nil // as good as: it may serve another request
	if err := h.pass(http.StatusEarlyHints, nil); err != nil {
		t.Error(err)
	}
}
