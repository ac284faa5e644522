package h1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kuberelay/kuberelay/internal/h1"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchServerEnv) != "" {
		os.Exit(runBenchServer())
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what a test waits for; only a failing test waits that long.
const patience = 10 * time.Second

// server is a real net/http server over TLS, with its connections' ends
// observable.
type server struct {
	*httptest.Server
	closed chan struct{} // one value for each connection that was closed
}

func newServer(t testing.TB, handler http.HandlerFunc, change ...func(*httptest.Server)) *server {
	t.Helper()
	s := &server{Server: httptest.NewUnstartedServer(handler), closed: make(chan struct{}, 100)}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			s.closed <- struct{}{}
		}
	}
	for _, f := range change {
		f(s.Server)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *server) addr() string { return s.Listener.Addr().String() }

// trust is a client configuration that verifies the server.
func (s *server) trust() *tls.Config { return trust(s.Certificate()) }

func trust(cert *x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{RootCAs: pool, ServerName: "example.com"}
}

// transport returns a Transport to the server that is closed with the test.
func (s *server) transport(t testing.TB, change ...func(*h1.Options)) *h1.Transport {
	return newTransport(t, h1.Options{Address: s.addr(), TLS: s.trust()}, change...)
}

func newTransport(t testing.TB, o h1.Options, change ...func(*h1.Options)) *h1.Transport {
	for _, f := range change {
		f(&o)
	}
	tr := h1.New(o)
	t.Cleanup(func() {
		tr.Close()
		tr.CloseConnections()
	})
	return tr
}

// rawServer runs handle for every TLS connection, which it numbers from 0.
// The test ends after all of them have returned.
func rawServer(t testing.TB, handle func(n int, c *rawConn)) h1.Options {
	t.Helper()
	certs := httptest.NewTLSServer(nil)
	certs.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certs.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(patience))
				handle(n, &rawConn{Conn: c, in: bufio.NewReader(c)})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return h1.Options{Address: l.Addr().String(), TLS: trust(certs.Certificate())}
}

// rawConn is a server's side of a connection.
type rawConn struct {
	net.Conn
	in *bufio.Reader
}

// request reads one request's head and body.
func (c *rawConn) request() (*http.Request, bool) {
	req, err := http.ReadRequest(c.in)
	if err != nil {
		return nil, false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return req, err == nil
}

func (c *rawConn) send(s string) { _, _ = io.WriteString(c, s) }

// gone returns when the client has closed the connection.
func (c *rawConn) gone() { _, _ = io.Copy(io.Discard, c.in) }

func get(target string) *h1.Request {
	return &h1.Request{Method: "GET", Target: target, Host: "example.com"}
}

// fetch does r and returns status and body.
func fetch(t testing.TB, tr *h1.Transport, r *h1.Request) (*http.Response, string) {
	t.Helper()
	resp, err := tr.Do(context.Background(), r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.Target, err)
	}
	return resp, readAll(t, resp)
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	var b strings.Builder
	if _, err := io.Copy(&b, resp.Body); err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatalf("closing the body: %v", err)
	}
	return b.String()
}

// wait fails the test when nothing comes from c in time.
func wait[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var v T
	select {
	case v = <-c:
	case <-timer.C:
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// asError returns err as what all errors of the package are.
func asError(t testing.TB, err error) *h1.Error {
	t.Helper()
	var e *h1.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T (%v), want *h1.Error", err, err)
	}
	return e
}
