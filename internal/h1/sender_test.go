package h1_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/internal/h1"
)

func TestTheAnswerMayComeBeforeTheBodyIsSent(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "too large")
	})
	body, w := io.Pipe() // its writer writes nothing: the answer must not wait for it
	tr := s.transport(t)
	resp, err := tr.Do(context.Background(), &h1.Request{Method: "POST", Target: "/", Host: "a", Body: body, ContentLength: -1})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); resp.StatusCode != 413 || got != "too large" {
		t.Errorf("got %s %q", resp.Status, got)
	}
	if st := tr.Stats(); st.Open != 0 {
		t.Errorf("stats %+v: the connection is half-way through a request", st)
	}
	_ = w.Close() // ends the sender, as a server does with its request's body
}

func TestBothDirectionsAtOnce(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		_ = rc.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	})
	body, w := io.Pipe()
	tr := s.transport(t)
	resp, err := tr.Do(context.Background(), &h1.Request{Method: "POST", Target: "/", Host: "a", Body: body, ContentLength: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", "three"} {
		if _, err := io.WriteString(w, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word {
			t.Fatalf("echo %q, %v", got, err)
		}
	}
	_ = w.Close()
	readAll(t, resp)
	if st := tr.Stats(); st.Idle != 1 {
		t.Errorf("stats %+v: the connection should be kept", st)
	}
}

func TestABodyThatFailsAbortsTheRequest(t *testing.T) {
	broken := errors.New("the client has gone")
	for name, tc := range map[string]struct {
		body   io.Reader
		length int64
		cause  error
	}{
		"read error, chunked":     {io.MultiReader(strings.NewReader("half"), failing{broken}), -1, broken},
		"read error, with length": {io.MultiReader(strings.NewReader("half"), failing{broken}), 100, broken},
		"shorter than its length": {strings.NewReader("half"), 100, h1.ErrRequestBody},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan error, 1)
			s := newServer(t, func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				seen <- err
			})
			_, err := s.transport(t).Do(context.Background(), &h1.Request{
				Method: "POST", Target: "/", Host: "a", Body: tc.body, ContentLength: tc.length,
			})
			if e := asError(t, err); !errors.Is(e, h1.ErrRequestBody) || !errors.Is(e, tc.cause) || e.IdleRace() {
				t.Errorf("error %v", e)
			}
			if err := wait(t, seen, "the server's view"); err == nil {
				t.Error("to the server the body looked complete")
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestRoundTripAlwaysClosesTheBody(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	tr := s.transport(t)
	refused := newTransport(t, h1.Options{Address: "127.0.0.1:1"})
	for name, tc := range map[string]struct {
		tr     *h1.Transport
		change func(*http.Request)
		fails  bool
	}{
		"after success":   {tr, func(*http.Request) {}, false},
		"no connection":   {refused, func(*http.Request) {}, true},
		"invalid request": {tr, func(r *http.Request) { r.Header.Set("A", "\n") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			body := &closing{Reader: strings.NewReader("body"), closed: make(chan struct{}, 10)}
			req, err := http.NewRequest(http.MethodPost, s.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			tc.change(req)
			resp, err := tc.tr.RoundTrip(req)
			if (err != nil) != tc.fails {
				t.Fatalf("error %v", err)
			}
			if err == nil && readAll(t, resp) != "body" {
				t.Error("the body was not echoed")
			}
			wait(t, body.closed, "Close")
		})
	}
}

type closing struct {
	io.Reader
	closed chan struct{}
}

func (c *closing) Close() error {
	c.closed <- struct{}{}
	return nil
}
