package fakeapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestRequestsThatAreNotAnswered(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ string, s *Server, c *http.Client) {
		s.Handle("/rst", RST())
		s.Handle("/early", RSTEarly())
		s.Handle("/hangup", Hangup())
		for _, path := range []string{"/rst", "/early", "/hangup"} {
			if r, err := send(t, c, "POST", s.URL+path, "body"); err == nil {
				t.Errorf("%s: answered %d", path, r.StatusCode)
			}
			if got := s.AwaitDone("POST "+path, 1)[0]; path != "/early" && !got.BodyRead {
				t.Errorf("%s: the body was not read", path)
			}
		}
		conns := map[int64]bool{}
		for _, r := range s.Requests() {
			conns[r.Conn] = true
		}
		if len(conns) != 3 {
			t.Errorf("three requests came on %d connections, want each to have cost one", len(conns))
		}
	})
}

// TestResetAndHangupDiffer reads the socket itself: an HTTP client may find out
// about a reset by writing, and then reads an end of file.
func TestResetAndHangupDiffer(t *testing.T) {
	s := New(t, Options{})
	s.Handle("/rst", RST())
	s.Handle("/hangup", Hangup())
	for path, want := range map[string]error{"/rst": syscall.ECONNRESET, "/hangup": io.EOF} {
		conn, err := tls.Dial("tcp", s.Addr, clientTLS(s))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, want) {
			t.Errorf("%s: read %d bytes, %v, want %v", path, n, err, want)
		}
		conn.Close()
	}
}

func TestBodiesThatEndTooEarly(t *testing.T) {
	eachProtocol(t, func(t *testing.T, proto string, s *Server, c *http.Client) {
		s.Handle("/length", RSTMidBody(100000, 10))
		s.Handle("/chunked", RSTMidBody(-1, 10))
		for _, path := range []string{"/length", "/chunked"} {
			if r, err := send(t, c, "GET", s.URL+path, ""); err == nil && r.err == nil {
				t.Errorf("%s: %d bytes came without an error", path, len(r.body))
			}
		}
		s.Handle("/stream", ResetStreamMidBody(10))
		s.Handle("/ok", Text(200, "ok"))
		get(t, c, s.URL+"/ok")
		r, err := send(t, c, "GET", s.URL+"/stream", "")
		if proto == "HTTP/1.1" {
			if err != nil || r.StatusCode != http.StatusHTTPVersionNotSupported {
				t.Errorf("over HTTP/1.1: %v %v, want to be told that it cannot work", r.Response, err)
			}
			return
		}
		if err != nil || r.err == nil || r.body != string(block[:10]) || !strings.Contains(r.err.Error(), "INTERNAL_ERROR") {
			t.Errorf("stream: %q, %v, %v", r.body, err, r.err)
		}
		get(t, c, s.URL+"/ok")
		if after := s.Requests("/ok"); after[0].Conn != after[1].Conn {
			t.Error("the connection did not survive the stream")
		}
	})
}

func TestKeepAliveRaces(t *testing.T) {
	s := New(t, Options{})
	c := newClient(t, s, false)
	s.Handle("/x", HangupReused(Text(200, "fresh")))
	s.Handle("/ok", Text(200, "ok"))
	get(t, c, s.URL+"/x")
	if _, err := send(t, c, "POST", s.URL+"/x", "body"); err == nil {
		t.Error("the second request on a connection was answered")
	}
	if got := s.Requests("POST /x"); len(got) != 1 || !got[0].Reused {
		t.Errorf("recorded %+v, want it to have been received on a reused connection", got)
	}

	get(t, c, s.URL+"/ok")
	s.AwaitDone("/ok", 1)
	if n := s.CloseIdleOnNextByte(); n != 1 {
		t.Errorf("%d idle connections armed, want 1", n)
	}
	if _, err := send(t, c, "POST", s.URL+"/ok", "body"); err == nil {
		t.Error("a request on an armed connection was answered")
	}
	if got := s.Requests("POST /ok"); len(got) != 0 {
		t.Errorf("the server read %+v, it should have closed before", got)
	}
	if r := get(t, c, s.URL+"/ok"); r.body != "ok" {
		t.Errorf("on the next connection: %q", r.body)
	}
}

func TestRefusedStreamCanBeRepeated(t *testing.T) {
	s := New(t, Options{})
	c := newClient(t, s, true)
	s.Handle("/x", RefusedStream(), Text(200, "second"))
	if r := get(t, c, s.URL+"/x"); r.body != "second" { // net/http repeats it by itself
		t.Errorf("got %q", r.body)
	}
	all := s.Requests("/x")
	if len(all) != 2 || all[0].Conn != all[1].Conn {
		t.Errorf("recorded %+v, want two requests on one connection", all)
	}
	s.Handle("/x", RefusedStream())
	_, err := send(t, c, "POST", s.URL+"/x", "body that cannot be rewound")
	if err == nil || !strings.Contains(err.Error(), "REFUSED_STREAM") && !strings.Contains(err.Error(), "cannot retry") {
		t.Errorf("POST: %v", err)
	}
}

func TestGoAway(t *testing.T) {
	s := New(t, Options{})
	c := newClient(t, s, true)
	release := make(chan struct{})
	s.Handle("/ok", Text(200, "ok"))
	s.Handle("/before", Until(release, Text(200, "before")))
	s.Handle("/unprocessed", GoAwayUnprocessed(), Text(200, "elsewhere"))
	s.Handle("/graceful", GoAwayThenAnswer(Text(200, "graceful")))
	s.Handle("/hangup", GoAwayThenHangup())

	// A stream from before the GOAWAY goes on to its end.
	before := make(chan string, 1)
	go func() {
		r, err := send(t, c, "GET", s.URL+"/before", "")
		if err != nil {
			before <- err.Error()
			return
		}
		before <- r.body
	}()
	first := s.Await("/before", 1)[0].Conn
	if r := get(t, c, s.URL+"/unprocessed"); r.body != "elsewhere" {
		t.Errorf("unprocessed: %q", r.body)
	}
	if all := s.Requests("/unprocessed"); len(all) != 2 || all[0].Conn != first || all[1].Conn == first {
		t.Errorf("unprocessed: recorded %+v, want the repetition on another connection than %d", all, first)
	}
	close(release)
	if got := <-before; got != "before" {
		t.Errorf("the stream from before got %q", got)
	}

	if r := get(t, c, s.URL+"/graceful"); r.body != "graceful" {
		t.Errorf("graceful: %q", r.body)
	}
	get(t, c, s.URL+"/ok")
	graceful, ok := s.Requests("/graceful")[0], s.Requests("/ok")[0]
	if graceful.Conn == ok.Conn {
		t.Error("the connection was used on after GOAWAY")
	}
	if r, err := send(t, c, "POST", s.URL+"/hangup", "body"); err == nil {
		t.Errorf("hangup: answered %d", r.StatusCode)
	}
}

// TestFramesOnTheWire looks at what the faults send, without a client that is
// clever about it.
func TestFramesOnTheWire(t *testing.T) {
	s := New(t, Options{})
	s.Handle("/refused", RefusedStream())
	s.Handle("/goaway", GoAwayUnprocessed())
	for path, want := range map[string]string{
		"/refused": "RST_STREAM 1 REFUSED_STREAM",
		"/goaway":  "GOAWAY 0 NO_ERROR",
	} {
		cfg := clientTLS(s)
		cfg.NextProtos = []string{"h2"}
		raw, err := tls.Dial("tcp", s.Addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		framer := http2.NewFramer(raw, raw)
		if _, err := io.WriteString(raw, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		if err := framer.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		// :method GET, :scheme https (indexed), :path literal, :authority literal.
		block := append([]byte{0x82, 0x87, 0x04, byte(len(path))}, path...)
		block = append(append(block, 0x01, 0x01), 'x')
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true}); err != nil {
			t.Fatal(err)
		}
		got := ""
		for got == "" {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			switch f := frame.(type) {
			case *http2.RSTStreamFrame:
				got = fmt.Sprintf("RST_STREAM %d %v", f.StreamID, f.ErrCode)
			case *http2.GoAwayFrame:
				got = fmt.Sprintf("GOAWAY %d %v", f.LastStreamID, f.ErrCode)
			case *http2.MetaHeadersFrame, *http2.HeadersFrame, *http2.DataFrame:
				got = fmt.Sprintf("%T", f)
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		raw.Close()
	}
}

func TestServersThatSayNothing(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ string, s *Server, c *http.Client) {
		s.Handle("/ok", Text(200, "ok"))
		get(t, c, s.URL+"/ok")
		for name, fault := range map[string]Fault{"mute": Mute, "freeze": Freeze} {
			s.SetFault(fault)
			answered := make(chan error, 1)
			go func() {
				_, err := send(t, c, "GET", s.URL+"/ok?"+name, "")
				answered <- err
			}()
			if fault == Mute {
				s.Await("/ok?mute", 1) // it arrives all the same
			}
			select {
			case err := <-answered:
				t.Errorf("%s: answered (%v)", name, err)
			case <-time.After(50 * time.Millisecond):
			}
			if fault == Freeze && len(s.Requests("/ok?freeze")) != 0 {
				t.Error("a frozen server read a request")
			}
			s.SetFault(NoFault)
			if err := <-answered; err != nil {
				t.Errorf("%s: after it ended: %v", name, err)
			}
		}
		if _, accepted := s.Connections(); accepted != 1 {
			t.Errorf("%d connections, want the faults to have hit the first one", accepted)
		}
	})
}

func TestHandshakesThatFail(t *testing.T) {
	s := New(t, Options{})
	for name, c := range map[string]struct {
		fault Fault
		check func(error) bool
	}{
		"hang": {HangHandshake, func(err error) bool { var n net.Error; return errors.As(err, &n) && n.Timeout() }},
		"reset": {ResetOnAccept, func(err error) bool {
			return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)
		}},
		"mute": {Mute, func(err error) bool { var n net.Error; return errors.As(err, &n) && n.Timeout() }},
	} {
		s.SetFault(c.fault)
		raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr)
		if c.fault == ResetOnAccept && errors.Is(err, syscall.ECONNRESET) {
			continue // it was quick
		}
		if err != nil {
			t.Fatalf("%s: TCP does not connect: %v", name, err)
		}
		secure := tls.Client(raw, clientTLS(s))
		if err := secure.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil && c.fault != ResetOnAccept {
			t.Fatal(err)
		}
		if err := secure.Handshake(); err == nil || !c.check(err) {
			t.Errorf("%s: handshake: %v", name, err)
		}
		raw.Close()
	}
	s.SetFault(NoFault)
	if r := get(t, newClient(t, s, true), s.URL+"/readyz"); r.body != "ok" {
		t.Errorf("without a fault: %q", r.body)
	}
}

func TestCertificatesThatDoNotVerify(t *testing.T) {
	s := New(t, Options{})
	for name, c := range map[string]struct {
		kind  Certificate
		check func(error) bool
	}{
		"other CA":   {OtherCA, func(err error) bool { var e x509.UnknownAuthorityError; return errors.As(err, &e) }},
		"wrong name": {WrongName, func(err error) bool { var e x509.HostnameError; return errors.As(err, &e) }},
		"expired": {Expired, func(err error) bool {
			var e x509.CertificateInvalidError
			return errors.As(err, &e) && e.Reason == x509.Expired
		}},
	} {
		s.SetCertificate(c.kind)
		if _, err := send(t, newClient(t, s, false), "GET", s.URL+"/readyz", ""); err == nil || !c.check(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests reached a server whose certificate does not verify", n)
	}
	s.SetCertificate(GoodCertificate)
	get(t, newClient(t, s, false), s.URL+"/readyz")

	shared := NewCA(t)
	a, b := New(t, Options{CA: shared}), New(t, Options{CA: shared})
	c := newClient(t, a, true)
	get(t, c, a.URL+"/readyz")
	get(t, c, b.URL+"/readyz") // one CA for the servers of a cluster
}

func TestDownAndUp(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ string, s *Server, c *http.Client) {
		s.Handle("/never", Never())
		cut := make(chan error, 1)
		go func() {
			_, err := send(t, c, "GET", s.URL+"/never", "")
			cut <- err
		}()
		s.Await("/never", 1)
		s.Down()
		if err := <-cut; err == nil {
			t.Error("a running request was answered")
		}
		if _, err := send(t, c, "GET", s.URL+"/readyz", ""); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("while down: %v, want refused", err)
		}
		s.Up()
		if r := get(t, c, s.URL+"/readyz"); r.body != "ok" {
			t.Errorf("up again: %q", r.body)
		}
	})
}

func TestAClientThatLeavesIsNoticed(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ string, s *Server, c *http.Client) {
		s.Handle("/never", Never())
		s.Handle("/late", Delay(time.Hour, Text(200, "late")))
		for _, path := range []string{"/never", "/late"} {
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "POST", s.URL+path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			gone := make(chan error, 1)
			go func() {
				resp, err := c.Do(req)
				if err == nil {
					resp.Body.Close()
				}
				gone <- err
			}()
			s.Await(path, 1)
			cancel()
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", path, err)
			}
			s.AwaitDone(path, 1)
		}
	})
}

func TestUpgradesEcho(t *testing.T) {
	s := New(t, Options{})
	s.Handle("/exec", Upgrade("hello "))
	for protocol, extra := range map[string][2]string{
		"websocket": {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n"},
		"SPDY/3.1":  {"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n", "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"},
	} {
		conn, err := tls.Dial("tcp", s.Addr, clientTLS(s))
		if err != nil {
			t.Fatal(err)
		}
		// The first bytes of the new protocol come right behind the request.
		if _, err := fmt.Fprintf(conn, "GET /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\nping ", protocol, extra[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "pong"); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(bufio.NewReader(conn))
		if err != nil {
			t.Fatal(err)
		}
		want := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n" + extra[1] + "\r\nhello ping pong"
		if string(all) != want {
			t.Errorf("%s: %q, want %q", protocol, all, want)
		}
		conn.Close()
	}
	if r := get(t, newClient(t, s, false), s.URL+"/exec"); r.StatusCode != 400 {
		t.Errorf("without Upgrade: %d", r.StatusCode)
	}
}

func TestWatchIsUnderTheTestsControl(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ string, s *Server, c *http.Client) {
		w := s.Watch("/api/v1/pods", JSON(200, map[string]string{"kind": "PodList"}))
		if r := get(t, c, s.URL+"/api/v1/pods"); r.body != `{"kind":"PodList"}`+"\n" {
			t.Errorf("list: %q", r.body)
		}
		start := func() *http.Response {
			resp, err := c.Get(s.URL + "/api/v1/pods?watch=true&resourceVersion=5")
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		first := start()
		defer first.Body.Close()
		w.Await(1)
		w.Send("ADDED", map[string]any{"kind": "Pod", "metadata": map[string]string{"resourceVersion": "6"}})
		w.Raw([]byte(`{"type":"BOOK`))
		want := `{"type":"ADDED","object":{"kind":"Pod","metadata":{"resourceVersion":"6"}}}` + "\n" + `{"type":"BOOK`
		got := make([]byte, len(want))
		if _, err := io.ReadFull(first.Body, got); err != nil || string(got) != want {
			t.Errorf("frames %q, %v", got, err)
		}
		w.Raw([]byte("MARK\"}\n"))
		w.End()
		if rest, err := io.ReadAll(first.Body); err != nil || string(rest) != "MARK\"}\n" {
			t.Errorf("at the end: %q, %v", rest, err)
		}
		w.Await(0)

		second := start()
		defer second.Body.Close()
		w.Await(1)
		w.Cut()
		if rest, err := io.ReadAll(second.Body); err == nil {
			t.Errorf("cut: %q without an error", rest)
		}
		w.Await(0)
	})
}
