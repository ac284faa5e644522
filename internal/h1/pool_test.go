package h1_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/internal/h1"
)

var discardLog = log.New(io.Discard, "", 0)

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

// hold opens n responses at once, so that n connections exist, and ends them.
func hold(t *testing.T, tr *h1.Transport, n int) {
	t.Helper()
	var open []*http.Response
	for range n {
		resp, err := tr.Do(context.Background(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	for _, resp := range open {
		readAll(t, resp)
	}
}

func TestIdleConnectionsExpire(t *testing.T) {
	s := newServer(t, hello)
	tr := s.transport(t, func(o *h1.Options) { o.IdleTimeout = 30 * time.Millisecond })
	for range 2 { // the timer starts again
		hold(t, tr, 3)
		for range 3 {
			wait(t, s.closed, "the expiry of an idle connection")
		}
		if st := tr.Stats(); st.Open != 0 || st.Idle != 0 {
			t.Errorf("stats %+v", st)
		}
	}
}

func TestThePoolIsBoundedAndLastInFirstOut(t *testing.T) {
	var mu sync.Mutex
	ports := map[string]int{}
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ports[r.RemoteAddr]++
		mu.Unlock()
		hello(w, r)
	})
	tr := s.transport(t, func(o *h1.Options) { o.MaxIdle = 2 })
	hold(t, tr, 5)
	if st := tr.Stats(); st.Idle != 2 || st.Open != 2 || st.Dials != 5 {
		t.Errorf("stats %+v, want 2 of 5 kept", st)
	}
	for range 4 {
		fetch(t, tr, get("/"))
	}
	used := 0
	for _, n := range ports {
		used = max(used, n)
	}
	if used != 5 {
		t.Errorf("one connection should have served all of the last 4 requests: %v", ports)
	}
	tr.CloseIdle()
	if st := tr.Stats(); st.Open != 0 {
		t.Errorf("stats after CloseIdle %+v", st)
	}
	none := s.transport(t, func(o *h1.Options) { o.MaxIdle = -1 })
	fetch(t, none, get("/"))
	if st := none.Stats(); st.Open != 0 {
		t.Errorf("stats %+v, want none kept", st)
	}
}

func TestBodiesClosedEarly(t *testing.T) {
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		reused  bool
	}{
		"when all is here, the connection is kept": {hello, true},
		"when not, it is closed": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "hello")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, false},
		"when it is large, too": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat("x", 4<<20))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, tc.handler)
			tr := s.transport(t)
			resp, err := tr.Do(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
			}
			if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err == nil || tc.reused != (err == io.EOF) {
				t.Errorf("Read after Close: %d, %v", n, err)
			}
			if st := tr.Stats(); (st.Idle == 1) != tc.reused || (st.Open == 1) != tc.reused {
				t.Errorf("stats %+v", st)
			}
			if !tc.reused {
				wait(t, s.closed, "the connection's end at the server")
			}
		})
	}
}

func TestCloseEndsABlockedRead(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	tr := s.transport(t)
	resp, err := tr.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := resp.Body.Read(make([]byte, 1))
		read <- err
	}()
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := wait(t, read, "the Read"); err == nil || err == io.EOF {
		t.Errorf("Read says %v", err)
	}
	if st := tr.Stats(); st.Open != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestCloseConnectionsCutsEverything(t *testing.T) {
	waiting := make(chan struct{}, 1)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/upgrade":
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		case "/body":
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/header":
			waiting <- struct{}{}
			<-r.Context().Done()
		default:
			hello(w, r)
		}
	})
	tr := s.transport(t)
	hold(t, tr, 5)
	if st := tr.Stats(); st.Idle != 5 {
		t.Fatalf("stats %+v", st)
	}
	errs := make(chan error)
	collect := func(f func() error) { go func() { errs <- f() }() }

	up := get("/upgrade")
	up.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"x"}}
	_, stream, err := tr.Upgrade(context.Background(), up)
	if err != nil || stream == nil {
		t.Fatal(stream, err)
	}
	defer func() { _ = stream.Close() }()
	collect(func() error { _, err := stream.Read(make([]byte, 1)); return err })

	resp, err := tr.Do(context.Background(), get("/body"))
	if err != nil {
		t.Fatal(err)
	}
	collect(func() error { _, err := io.ReadAll(resp.Body); return err })

	collect(func() error { _, err := tr.Do(context.Background(), get("/header")); return err })
	wait(t, waiting, "the request")

	tr.CloseConnections()
	for range 3 {
		if e := asError(t, wait(t, errs, "the end of a use")); !errors.Is(e, h1.ErrClosed) {
			t.Errorf("error %v", e)
		}
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	if st := tr.Stats(); st.Open != 0 || st.Idle != 0 {
		t.Errorf("stats %+v", st)
	}
	fetch(t, tr, get("/")) // life goes on
}

func TestCloseConnectionsCutsDialsAndHandshakes(t *testing.T) {
	s := newServer(t, hello)
	for name, phase := range map[string]h1.Phase{"dial": h1.PhaseDial, "handshake": h1.PhaseHandshake} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			var tr *h1.Transport
			tr = newTransport(t, h1.Options{Address: l.Addr().String(), TLS: s.trust(),
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := h1.NewDialer().DialContext(ctx, network, addr)
					if phase == h1.PhaseDial {
						tr.CloseConnections()
					}
					return c, err
				}})
			if phase == h1.PhaseHandshake {
				go func() {
					if c, err := l.Accept(); err == nil {
						_, _ = c.Read(make([]byte, 1)) // the handshake has begun
						tr.CloseConnections()
						_ = c.Close()
					}
				}()
			}
			_, err = tr.Do(context.Background(), get("/"))
			if e := asError(t, err); e.Phase != phase || !errors.Is(e, h1.ErrClosed) {
				t.Errorf("phase %v, error %v", e.Phase, e)
			}
		})
	}
}

func TestARetiredTransportKeepsNothing(t *testing.T) {
	s := newServer(t, hello)
	tr := s.transport(t)
	resp, err := tr.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	hold(t, tr, 2)
	tr.Close()
	if st := tr.Stats(); st.Idle != 0 || st.Open != 1 {
		t.Errorf("stats %+v, want only the response's connection", st)
	}
	if body := readAll(t, resp); body != "hello" {
		t.Errorf("body %q", body)
	}
	if _, body := fetch(t, tr, get("/")); body != "hello" {
		t.Errorf("body %q", body)
	}
	if st := tr.Stats(); st.Open != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Ready is what tells a proxy to flush.
func TestReadyTellsWhetherABodyCanBeRead(t *testing.T) {
	for name, tc := range map[string]struct{ head, one, two, end string }{
		"chunked": {"Transfer-Encoding: chunked\r\n\r\n", "3\r\none\r\n", "3\r\ntwo\r\n", "0\r\n\r\n"},
		"length":  {"Content-Length: 6\r\n\r\n", "one", "two", ""},
	} {
		t.Run(name, func(t *testing.T) {
			steps, sent := make(chan string), make(chan struct{})
			tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) {
				c.request()
				for s := range steps {
					c.send(s)
					sent <- struct{}{}
				}
				c.gone()
			}))
			send := func(s string) {
				steps <- s
				wait(t, sent, "the server's bytes")
			}
			go func() { steps <- "HTTP/1.1 200 OK\r\n" + tc.head }()
			resp, err := tr.Do(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			wait(t, sent, "the head")
			ready := resp.Body.(interface{ Ready() bool }).Ready
			if ready() {
				t.Error("ready before the first byte")
			}
			buf := make([]byte, 100)
			for _, piece := range []string{tc.one, tc.two} {
				for _, part := range []string{piece[:2], piece[2:]} { // also through a chunk's head
					send(part)
				}
				if !ready() {
					t.Errorf("not ready after %q", piece)
				}
				n, err := resp.Body.Read(buf)
				if want := strings.Trim(piece, "\r\n3"); string(buf[:n]) != want || err != nil && err != io.EOF {
					t.Errorf("read %q, %v; want %q", buf[:n], err, want)
				}
				if err == nil && ready() {
					t.Errorf("ready after %q was read", piece)
				}
			}
			if tc.end != "" {
				send(tc.end)
			}
			if _, err := resp.Body.Read(buf); err != io.EOF || !ready() {
				t.Errorf("at the end: %v, ready %v", err, ready())
			}
			close(steps)
		})
	}
}

// What has arrived in several TLS records is one Read, so that it can be one
// write.
func TestReadFillsTheBuffer(t *testing.T) {
	const size = 60 << 10
	sent := make(chan struct{})
	tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) {
		c.request()
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
		for range size / 4096 {
			c.send(strings.Repeat("x", 4096))
		}
		sent <- struct{}{}
		c.gone()
	}))
	resp, err := tr.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	wait(t, sent, "the server's bytes")
	if n, err := resp.Body.Read(make([]byte, 100000)); n != size || err != nil {
		t.Errorf("read %d, %v; want %d", n, err, size)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}
