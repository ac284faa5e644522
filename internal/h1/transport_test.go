package h1_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/internal/h1"
)

func TestRequestReachesTheServerAsGiven(t *testing.T) {
	type seen struct {
		Method, URI, Host, Body string
		Length                  int64
		Encoding                []string
		Header                  http.Header
	}
	var got seen
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = seen{r.Method, r.RequestURI, r.Host, string(body), r.ContentLength, r.TransferEncoding, r.Header}
	})
	tr := s.transport(t)
	big := strings.Repeat("0123456789abcdef", 8<<10) // too large to go with the head
	for name, tc := range map[string]struct {
		req  h1.Request
		want seen
	}{
		"target bytes are kept": {
			h1.Request{Method: "GET", Target: "/a%2fb//c/../%41?x=%zz&y=\xc3\xbc;&&"},
			seen{Method: "GET", URI: "/a%2fb//c/../%41?x=%zz&y=\xc3\xbc;&&"},
		},
		"headers, and no others": {
			h1.Request{Method: "GET", Target: "/", Header: http.Header{"Accept": {"a", "b"}, "Authorization": {"Bearer x"}}},
			seen{Method: "GET", URI: "/", Header: http.Header{"Accept": {"a", "b"}, "Authorization": {"Bearer x"}}},
		},
		"framing and hop-by-hop fields are ours": {
			h1.Request{Method: "GET", Target: "/", Header: http.Header{
				"Content-Length": {"7"}, "transfer-encoding": {"chunked"}, "Host": {"evil"}, "Trailer": {"X"},
				"Connection": {"close"}, "Keep-Alive": {"1"}, "Proxy-Connection": {"x"}, "Upgrade": {"h2c"},
			}},
			seen{Method: "GET", URI: "/"},
		},
		"an empty POST has a length": {
			h1.Request{Method: "POST", Target: "/"},
			seen{Method: "POST", URI: "/", Header: http.Header{"Content-Length": {"0"}}},
		},
		"small payload": {
			h1.Request{Method: "POST", Target: "/", Payload: []byte("hello")},
			seen{Method: "POST", URI: "/", Body: "hello", Length: 5, Header: http.Header{"Content-Length": {"5"}}},
		},
		"large payload": {
			h1.Request{Method: "PUT", Target: "/", Payload: []byte(big)},
			seen{Method: "PUT", URI: "/", Body: big, Length: int64(len(big)), Header: http.Header{"Content-Length": {fmt.Sprint(len(big))}}},
		},
		"streamed, length known": {
			h1.Request{Method: "PATCH", Target: "/", Body: strings.NewReader(big), ContentLength: int64(len(big))},
			seen{Method: "PATCH", URI: "/", Body: big, Length: int64(len(big)), Header: http.Header{"Content-Length": {fmt.Sprint(len(big))}}},
		},
		"streamed, length unknown": {
			h1.Request{Method: "POST", Target: "/", Body: strings.NewReader(big), ContentLength: -1},
			seen{Method: "POST", URI: "/", Body: big, Length: -1, Encoding: []string{"chunked"}},
		},
		"streamed and empty": {
			h1.Request{Method: "POST", Target: "/", Body: strings.NewReader(""), ContentLength: -1},
			seen{Method: "POST", URI: "/", Length: -1, Encoding: []string{"chunked"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.req.Host, tc.want.Host = "kube.example:6443", "kube.example:6443"
			if tc.want.Header == nil {
				tc.want.Header = http.Header{}
			}
			if resp, _ := fetch(t, tr, &tc.req); resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("the server saw (-want +got):\n%s", diff)
			}
		})
	}
	if st := tr.Stats(); st.Dials != 1 || st.Open != 1 || st.Idle != 1 {
		t.Errorf("one connection should have served all: %+v", st)
	}
}

func TestResponsesOfEveryFraming(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for name, tc := range map[string]struct {
		method  string
		handler http.HandlerFunc
		body    string
		length  int64
		trailer http.Header
		status  int
	}{
		"by length": {"GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, "hello", 5, nil, 200},
		"empty":     {"GET", func(http.ResponseWriter, *http.Request) {}, "", 0, nil, 200},
		"chunked":   {"GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, long) }, long, -1, nil, 200},
		"long by length": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(long)))
			_, _ = io.WriteString(w, long)
		}, long, int64(len(long)), nil, 200},
		"many small chunks": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			for range 5000 {
				_, _ = io.WriteString(w, "abc")
				_ = http.NewResponseController(w).Flush()
			}
		}, strings.Repeat("abc", 5000), -1, nil, 200},
		"trailers": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum, X-Declared")
			_, _ = io.WriteString(w, long)
			w.Header().Set("X-Sum", "42")
			w.Header().Set(http.TrailerPrefix+"X-Late", "1")
		}, long, -1, http.Header{"X-Sum": {"42"}, "X-Declared": nil, "X-Late": {"1"}}, 200},
		"HEAD": {"HEAD", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "500") }, "", 500, nil, 200},
		"204":  {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "", 0, nil, 204},
		"304": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(304)
		}, "", 0, nil, 304},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, tc.handler)
			tr := s.transport(t)
			for range 2 { // the second proves that nothing of the first is left
				r := get("/")
				r.Method = tc.method
				resp, body := fetch(t, tr, r)
				if body != tc.body || resp.ContentLength != tc.length || resp.StatusCode != tc.status {
					t.Errorf("got %d, length %d, %d bytes of body; want %d, %d, %d",
						resp.StatusCode, resp.ContentLength, len(body), tc.status, tc.length, len(tc.body))
				}
				if diff := cmp.Diff(tc.trailer, resp.Trailer); diff != "" {
					t.Errorf("trailer (-want +got):\n%s", diff)
				}
			}
			if st := tr.Stats(); st.Dials != 1 || st.Reuses != 1 {
				t.Errorf("the connection was not reused: %+v", st)
			}
		})
	}
}

func TestBodyUntilConnectionEnds(t *testing.T) {
	o := rawServer(t, func(n int, c *rawConn) {
		c.request()
		c.send("HTTP/1.0 200 OK\r\n\r\nto the end")
	})
	tr := newTransport(t, o)
	for range 2 {
		resp, body := fetch(t, tr, get("/"))
		if body != "to the end" || !resp.Close || resp.ContentLength != -1 {
			t.Errorf("body %q, close %v, length %d", body, resp.Close, resp.ContentLength)
		}
	}
	if st := tr.Stats(); st.Dials != 2 || st.Open != 0 {
		t.Errorf("stats %+v, want 2 dials and nothing open", st)
	}
}

func TestTruncatedBodiesAreErrors(t *testing.T) {
	for name, head := range map[string]string{
		"length":        "Content-Length: 10\r\n\r\n12345",
		"chunk data":    "Transfer-Encoding: chunked\r\n\r\na\r\n12345",
		"chunk line":    "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
		"chunk trailer": "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) {
				c.request()
				c.send("HTTP/1.1 200 OK\r\n" + head)
			}))
			resp, err := tr.Do(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if e := asError(t, err); e.Phase != h1.PhaseBody || !errors.Is(e, io.ErrUnexpectedEOF) {
				t.Errorf("error %v in phase %v", e, e.Phase)
			}
			if string(body) != "12345" {
				t.Errorf("body before the end %q", body)
			}
			if _, again := resp.Body.Read(make([]byte, 1)); again == nil || again == io.EOF {
				t.Errorf("a second Read says %v, not the error", again)
			}
			if st := tr.Stats(); st.Open != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestInterimResponses(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.Copy(io.Discard, r.Body) // sends 100 when asked for
		w.WriteHeader(http.StatusCreated)
	})
	var interim []string
	resp, _ := fetch(t, s.transport(t), &h1.Request{
		Method: "POST", Target: "/", Host: "a", Payload: []byte("x"), Header: http.Header{"Expect": {"100-continue"}},
		Interim: func(code int, h http.Header) { interim = append(interim, fmt.Sprint(code, h.Get("Link"))) },
	})
	if resp.StatusCode != 201 || resp.Header.Get("Link") != "" {
		t.Errorf("final response %s %v", resp.Status, resp.Header)
	}
	if diff := cmp.Diff([]string{"103</a>"}, interim); diff != "" {
		t.Error(diff)
	}
}

func TestRefusesToWriteWhatCouldSplitARequest(t *testing.T) {
	dialed := false
	tr := newTransport(t, h1.Options{Address: "192.0.2.1:1", Dial: func(context.Context, string, string) (net.Conn, error) {
		dialed = true
		return nil, errors.New("no")
	}})
	secret := "s3cret"
	for name, r := range map[string]h1.Request{
		"LF in a value":        {Method: "GET", Target: "/", Host: "a", Header: http.Header{"A": {secret + "\nB: c"}}},
		"CR in a value":        {Method: "GET", Target: "/", Host: "a", Header: http.Header{"A": {secret + "\rB: c"}}},
		"NUL in a value":       {Method: "GET", Target: "/", Host: "a", Header: http.Header{"A": {secret + "\x00"}}},
		"colon in a name":      {Method: "GET", Target: "/", Host: "a", Header: http.Header{"A:": {"b"}}},
		"line break in a name": {Method: "GET", Target: "/", Host: "a", Header: http.Header{"A\r\nB": {"b"}}},
		"empty name":           {Method: "GET", Target: "/", Host: "a", Header: http.Header{"": {"b"}}},
		"space in target":      {Method: "GET", Target: "/ HTTP/1.1", Host: "a"},
		"line break in target": {Method: "GET", Target: "/\r\nA:b", Host: "a"},
		"no target":            {Method: "GET", Host: "a"},
		"absolute target":      {Method: "GET", Target: "http://b/", Host: "a"},
		"method":               {Method: "GET /", Target: "/", Host: "a"},
		"no method":            {Target: "/", Host: "a"},
		"host":                 {Method: "GET", Target: "/", Host: "a\r\nB: c"},
		"no host":              {Method: "GET", Target: "/"},
		"length":               {Method: "GET", Target: "/", Host: "a", Body: strings.NewReader("x"), ContentLength: -2},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tr.Do(context.Background(), &r)
			e := asError(t, err)
			if e.Phase != h1.PhaseRequest || !e.NothingWritten() {
				t.Errorf("phase %v, error %v", e.Phase, e)
			}
			if strings.Contains(e.Error(), secret) {
				t.Errorf("the error shows the value: %v", e)
			}
		})
	}
	if dialed {
		t.Error("a connection was made")
	}
}

func TestConnectionsThatTheServerClosedAreNotUsed(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) },
				func(s *httptest.Server) { s.TLS = &tls.Config{MaxVersion: version} })
			tr := s.transport(t)
			fetch(t, tr, get("/1"))
			fetch(t, tr, get("/2"))
			if st := tr.Stats(); st.Dials != 1 || st.Reuses != 1 {
				t.Fatalf("the session tickets must not count as unasked bytes: %+v", st)
			}
			s.CloseClientConnections()
			wait(t, s.closed, "the server's close")
			if _, body := fetch(t, tr, get("/3")); body != "/3" {
				t.Errorf("body %q", body)
			}
			if st := tr.Stats(); st.Dials != 2 || st.Open != 1 {
				t.Errorf("stats %+v, want a second dial and only its connection open", st)
			}
		})
	}
}

// A server, or a man behind it, that sends more than one response must not
// have the rest taken for the answer to somebody else's request.
func TestUnaskedBytesAreNeverAResponse(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	good := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	small, large := "good", strings.Repeat("good", 8<<10)
	for name, tc := range map[string]struct {
		body string
		send func(c *rawConn, body string)
	}{
		"in the same record": {small, func(c *rawConn, body string) { c.send(good(body) + evil) }},
		"in the record of a large body's end": {large, func(c *rawConn, body string) {
			all := good(body) + evil
			c.send(all[:10000])
			c.send(all[10000:])
		}},
		"in a record of its own": {small, func(c *rawConn, body string) {
			c.send(good(body))
			c.send(evil)
		}},
		"after no body": {"", func(c *rawConn, _ string) { c.send("HTTP/1.1 204 No Content\r\n\r\n" + evil) }},
		"chunked and with a length": {"good", func(c *rawConn, _ string) {
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan struct{}, 2)
			tr := newTransport(t, rawServer(t, func(n int, c *rawConn) {
				c.request()
				tc.send(c, tc.body)
				sent <- struct{}{}
				c.gone()
			}))
			for range 2 {
				_, body := fetch(t, tr, get("/"))
				if body != tc.body {
					t.Errorf("body %q", body[:min(len(body), 40)])
				}
				wait(t, sent, "the server's bytes")
			}
			if st := tr.Stats(); st.Dials != 2 || st.Reuses != 0 {
				t.Errorf("the connection was used again: %+v", st)
			}
		})
	}
}

func TestKeepAliveRaceIsRecognised(t *testing.T) {
	tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) {
		c.request()
		c.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.request() // and closes without an answer
	}))
	fetch(t, tr, get("/"))
	_, err := tr.Do(context.Background(), get("/"))
	e := asError(t, err)
	if !e.IdleRace() || !e.Reused || e.Received || e.Phase != h1.PhaseHeader || e.NothingWritten() || e.Timeout() {
		t.Errorf("error %+v", e)
	}
	fresh := get("/")
	fresh.Fresh = true
	fetch(t, tr, fresh)

	t.Run("but not on a new connection", func(t *testing.T) {
		tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) { c.request() }))
		_, err := tr.Do(context.Background(), get("/"))
		if e := asError(t, err); e.IdleRace() || e.Phase != h1.PhaseHeader || !errors.Is(e, io.EOF) || e.Written == 0 {
			t.Errorf("error %+v", e)
		}
	})
	t.Run("nor with half a response", func(t *testing.T) {
		tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) {
			c.request()
			c.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			c.request()
			c.send("HTTP/1.1 20")
		}))
		fetch(t, tr, get("/"))
		_, err := tr.Do(context.Background(), get("/"))
		if e := asError(t, err); e.IdleRace() || !e.Received || !errors.Is(e, io.ErrUnexpectedEOF) {
			t.Errorf("error %+v", e)
		}
	})
}

func TestFailuresBeforeTheRequestIsWritten(t *testing.T) {
	s := newServer(t, func(http.ResponseWriter, *http.Request) { t.Error("the server got the request") })
	s.Config.ErrorLog = discardLog
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	canceled, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("the client has gone")
	cancel(reason)

	for name, tc := range map[string]struct {
		ctx     context.Context
		o       h1.Options
		phase   h1.Phase
		timeout bool
		check   func(error) bool
	}{
		"refused": {context.Background(), h1.Options{Address: closed.Addr().String()}, h1.PhaseDial, false, nil},
		"dial timeout": {context.Background(), h1.Options{Address: "x:1", DialTimeout: time.Millisecond,
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }}, h1.PhaseDial, true, nil},
		"handshake timeout": {context.Background(), h1.Options{Address: silent.Addr().String(), TLS: s.trust(), HandshakeTimeout: 20 * time.Millisecond},
			h1.PhaseHandshake, true, nil},
		"unknown authority": {context.Background(), h1.Options{Address: s.addr(), TLS: &tls.Config{}}, h1.PhaseHandshake, false,
			func(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }},
		"another name": {context.Background(), h1.Options{Address: s.addr(), TLS: func() *tls.Config { c := s.trust(); c.ServerName = "other.test"; return c }()},
			h1.PhaseHandshake, false, func(err error) bool { return errors.As(err, new(*tls.CertificateVerificationError)) }},
		"canceled before": {canceled, h1.Options{Address: s.addr(), TLS: s.trust()}, h1.PhaseRequest, false,
			func(err error) bool { return errors.Is(err, reason) }},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, tc.o)
			_, err := tr.Do(tc.ctx, get("/"))
			e := asError(t, err)
			if e.Phase != tc.phase || e.Timeout() != tc.timeout || !e.NothingWritten() || tc.check != nil && !tc.check(e) {
				t.Errorf("phase %v, timeout %v, written %d, error %v", e.Phase, e.Timeout(), e.Written, e)
			}
			if st := tr.Stats(); st.Open != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestHeaderTimeout(t *testing.T) {
	hang := func(_ int, c *rawConn) {
		if _, ok := c.request(); ok {
			c.gone()
		}
	}
	for name, r := range map[string]h1.Request{
		"no body":       {Method: "GET"},
		"large payload": {Method: "PUT", Payload: make([]byte, 1<<20)},
		"streamed body": {Method: "PUT", Body: strings.NewReader("body"), ContentLength: 4},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, rawServer(t, hang))
			r.Target, r.Host, r.HeaderTimeout = "/", "a", 50*time.Millisecond
			_, err := tr.Do(context.Background(), &r)
			if e := asError(t, err); !errors.Is(e, h1.ErrHeaderTimeout) || !e.Timeout() || e.Phase != h1.PhaseHeader || e.Written == 0 {
				t.Errorf("error %+v", e)
			}
		})
	}
	t.Run("a body may take longer", func(t *testing.T) {
		release := make(chan struct{})
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = io.WriteString(w, "late")
		})
		r := get("/")
		r.HeaderTimeout = 50 * time.Millisecond
		resp, err := s.transport(t).Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(100*time.Millisecond, func() { close(release) })
		if body := readAll(t, resp); body != "late" {
			t.Errorf("body %q", body)
		}
	})
	t.Run("and so may the next request, whatever the last one's limit", func(t *testing.T) {
		tr := newTransport(t, rawServer(t, func(_ int, c *rawConn) {
			c.request()
			c.send("HTTP/1.1 204 No Content\r\n\r\n")
			c.request()
			timer := time.NewTimer(100 * time.Millisecond)
			<-timer.C
			c.send("HTTP/1.1 204 No Content\r\n\r\n")
		}))
		r := get("/")
		r.HeaderTimeout = 50 * time.Millisecond
		fetch(t, tr, r)
		r.HeaderTimeout = -1
		fetch(t, tr, r)
		if st := tr.Stats(); st.Reuses != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestCancelReachesTheServerAtOnce(t *testing.T) {
	for name, flush := range map[string]bool{"before the header": false, "in the body": true} {
		t.Run(name, func(t *testing.T) {
			started, ended := make(chan struct{}), make(chan time.Time, 1)
			s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				if flush {
					_ = http.NewResponseController(w).Flush()
				}
				close(started)
				<-r.Context().Done()
				ended <- time.Now()
			})
			ctx, cancel := context.WithCancelCause(context.Background())
			reason := errors.New("the client has gone")
			canceled := make(chan time.Time, 1)
			leave := func() {
				<-started
				canceled <- time.Now()
				cancel(reason)
			}
			if !flush {
				go leave()
			}
			resp, err := s.transport(t).Do(ctx, get("/"))
			if flush && err == nil {
				go leave()
				_, err = resp.Body.Read(make([]byte, 1))
			}
			back := time.Now()
			if e := asError(t, err); !errors.Is(e, reason) || (e.Phase == h1.PhaseBody) != flush {
				t.Errorf("error %v in phase %v", e, e.Phase)
			}
			from := wait(t, canceled, "the cancellation")
			if took := wait(t, ended, "the server's context").Sub(from); took > 100*time.Millisecond {
				t.Errorf("the server noticed after %v", took)
			}
			if took := back.Sub(from); took > 100*time.Millisecond {
				t.Errorf("the caller waited for %v", took)
			}
		})
	}
}

func TestNoGoroutineBelongsToAConnection(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })
	tr := s.transport(t)
	var open []*http.Response
	for range 8 {
		resp, err := tr.Do(context.Background(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, resp)
	}
	if st := tr.Stats(); st.Open != 8 {
		t.Fatalf("stats %+v", st)
	}
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stacks.String(), "internal/h1.(*") {
		t.Errorf("a goroutine of the package runs:\n%s", &stacks)
	}
	for _, resp := range open {
		readAll(t, resp)
	}
}

func TestHugeBodiesPassInConstantMemory(t *testing.T) {
	const size = 64 << 20
	block := make([]byte, 64<<10)
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			n, err := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, n, err)
			return
		}
		for range size / len(block) {
			_, _ = w.Write(block)
		}
	})
	tr := s.transport(t)
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	fetch(t, tr, &h1.Request{Method: "PUT", Target: "/", Host: "a", Payload: []byte("warm up")})
	before := allocated()
	resp, err := tr.Do(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 32<<10))
	if err != nil || n != size {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	_, body := fetch(t, tr, &h1.Request{Method: "PUT", Target: "/", Host: "a", Body: io.LimitReader(zeros{}, size), ContentLength: size})
	if want := fmt.Sprint(size, error(nil)); body != want {
		t.Errorf("the server got %q, want %q", body, want)
	}
	if used := allocated() - before; used > size/2 { // the race detector's runtime recycles less
		t.Errorf("%d KiB were allocated for %d MiB in each direction", used>>10, size>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestManyAtOnceGetTheirOwnAnswers(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasPrefix(r.RequestURI, "/slow") {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, strings.Repeat(r.RequestURI, 1+len(r.RequestURI)%7*500)+string(body))
	})
	tr := s.transport(t)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 60 {
				ctx, cancel := context.WithCancel(context.Background())
				id := fmt.Sprintf("/%d/%0*d", g, 1+i%5, i)
				r := &h1.Request{Method: "POST", Target: id, Host: "a"}
				if i%3 == 0 {
					r.Body, r.ContentLength = strings.NewReader(id), -1
				}
				if i%10 == 9 {
					r.Target = "/slow" + id
					time.AfterFunc(time.Duration(g)*time.Millisecond/4, cancel)
				}
				resp, err := tr.Do(ctx, r)
				switch {
				case i%10 == 9:
					if err == nil || !errors.Is(err, context.Canceled) {
						t.Errorf("canceled request: %v", err)
					}
				case err != nil:
					t.Errorf("%s: %v", id, err)
				case i%7 == 6:
					_ = resp.Body.Close()
				default:
					want := strings.Repeat(id, 1+len(id)%7*500)
					if i%3 == 0 {
						want += id
					}
					if got := readAll(t, resp); got != want {
						t.Errorf("%s: got %.60q…", id, got)
					}
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if st := tr.Stats(); st.Open != st.Idle {
		t.Errorf("connections are lost: %+v", st)
	}
}

func TestRoundTripper(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Host, body)
	})
	client := &http.Client{Transport: s.transport(t)}
	for name, tc := range map[string]struct {
		method, url string
		opaque      string
		body        io.Reader
		want        string
	}{
		"GET":          {"GET", "/a%2Fb?q=1", "", nil, "GET /a%2Fb?q=1 " + s.addr() + " "},
		"opaque":       {"GET", "/x", "/a//b%2f..", nil, "GET /a//b%2f.. " + s.addr() + " "},
		"known length": {"POST", "/x", "", strings.NewReader("abc"), "POST /x " + s.addr() + " abc"},
		"a pipe":       {"POST", "/x", "", io.MultiReader(strings.NewReader("ab"), strings.NewReader("c")), "POST /x " + s.addr() + " abc"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(tc.method, s.URL+tc.url, tc.body)
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Opaque = tc.opaque
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp); got != tc.want || resp.Request != req {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
