package fakeapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// handshakeTimeout bounds a client that connects and says nothing.
const handshakeTimeout = 10 * time.Second

// Options are how one server differs from the next. The zero value is fine.
type Options struct {
	CA        *CA    // signs the server's certificate; nil: one of its own
	UID       string // of the namespace kube-system, which tells clusters apart; default "fakeapi"
	Version   string // gitVersion at /version; default "v1.37.2"
	HTTP1Only bool   // do not offer HTTP/2
	Plain     bool   // http://, no TLS
}

// Server is one fake API server. Its methods may be called from any goroutine.
type Server struct {
	URL   string // https://127.0.0.1:PORT
	Addr  string // 127.0.0.1:PORT
	CA    *CA
	CAPEM []byte

	t       testing.TB
	options Options
	tls     atomic.Pointer[tls.Config]
	http1   *http.Server
	handoff *handoff
	ctx     context.Context // ends with the server
	cancel  context.CancelFunc
	wg      sync.WaitGroup // accept loop, connections, handlers

	mu           sync.Mutex
	listener     net.Listener       // guarded by mu; nil while down
	conns        map[*conn]struct{} // guarded by mu
	accepted     int64              // guarded by mu
	stopped      bool               // guarded by mu; no handler starts any more
	fault        Fault              // guarded by mu
	faultChanged chan struct{}      // guarded by mu; closed at each change
	routes       []*route           // guarded by mu; the latest first
	tokens       map[string]bool    // guarded by mu; nil: no token is asked for
	failing      health             // guarded by mu
	endpoints    []string           // guarded by mu; nil: its own address
	log          requestLog
}

// New starts a server that ends, with all its connections, when the test does.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if o.UID == "" {
		o.UID = "fakeapi"
	}
	if o.Version == "" {
		o.Version = "v1.37.2"
	}
	if o.CA == nil {
		o.CA = NewCA(t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		CA: o.CA, CAPEM: o.CA.PEM,
		t: t, options: o, ctx: ctx, cancel: cancel,
		handoff: &handoff{conns: make(chan net.Conn), done: ctx.Done()},
		conns:   map[*conn]struct{}{}, faultChanged: make(chan struct{}),
	}
	s.log.changed = make(chan struct{})
	s.SetCertificate(GoodCertificate)
	s.http1 = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP1),
		ReadHeaderTimeout: handshakeTimeout,
		ErrorLog:          log.New(io.Discard, "", 0), // faults are what it is for
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withConn,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/2 never gets there
	}
	s.wg.Go(func() { _ = s.http1.Serve(s.handoff) }) // ends with ErrServerClosed
	t.Cleanup(s.stop)
	s.listen("127.0.0.1:0")
	scheme := "https"
	if o.Plain {
		scheme = "http"
	}
	s.URL = (&url.URL{Scheme: scheme, Host: s.Addr}).String()
	return s
}

func (s *Server) listen(address string) {
	s.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatalf("fakeapi: %v", err)
	}
	s.mu.Lock()
	s.listener, s.Addr = l, l.Addr().String()
	s.mu.Unlock()
	s.wg.Go(func() { s.accept(l) })
}

// Down is kill -9: the port refuses connections, and the open ones are reset.
func (s *Server) Down() {
	s.mu.Lock()
	l := s.listener
	s.listener = nil
	s.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	s.CutConnections()
}

// Up starts it again after Down, on the same port.
func (s *Server) Up() {
	s.t.Helper()
	s.mu.Lock()
	down := s.listener == nil
	s.mu.Unlock()
	if down {
		s.listen(s.Addr)
	}
}

// SetCertificate changes what new connections are shown.
func (s *Server) SetCertificate(kind Certificate) {
	s.t.Helper()
	cfg, err := s.CA.serverTLS(kind, s.options.HTTP1Only)
	if err != nil {
		s.t.Fatalf("fakeapi: make a server certificate: %v", err)
	}
	s.tls.Store(cfg)
}

// Kubeconfig writes a kubeconfig for the server and returns its path. The user
// presents the token, when it is not empty.
func (s *Server) Kubeconfig(token string) string {
	s.t.Helper()
	dir := s.t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	user := "{}"
	if token != "" {
		user = fmt.Sprintf("{token: %q}", token)
	}
	connection := fmt.Sprintf("{server: %q, certificate-authority: %q}", s.URL, ca)
	if s.options.Plain {
		connection = fmt.Sprintf("{server: %q}", s.URL)
	}
	config := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: fake
contexts: [{name: fake, context: {cluster: fake, user: me}}]
clusters: [{name: fake, cluster: %s}]
users: [{name: me, user: %s}]
`, connection, user)
	path := filepath.Join(dir, "kubeconfig")
	for name, content := range map[string][]byte{ca: s.CAPEM, path: []byte(config)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			s.t.Fatalf("fakeapi: %v", err)
		}
	}
	return path
}

func (s *Server) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.Down()
	_ = s.http1.Close()
	s.wg.Wait()
}

func (s *Server) accept(l net.Listener) {
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		c := &conn{Conn: raw, srv: s, closed: make(chan struct{})}
		s.mu.Lock()
		s.accepted++
		c.id = s.accepted
		gone := s.listener != l
		if !gone {
			s.conns[c] = struct{}{}
		}
		s.mu.Unlock()
		if gone { // Down came between
			c.reset()
			continue
		}
		s.wg.Go(func() { s.serve(c) })
	}
}

// serve brings a connection to the point where requests can be read from it.
func (s *Server) serve(c *conn) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	switch fault {
	case ResetOnAccept:
		c.reset()
		return
	case HangHandshake:
		_, _ = io.Copy(io.Discard, c) // until the client or the test gives up
		_ = c.Close()
		return
	}
	if s.options.Plain {
		s.handoff.give(c, c)
		return
	}
	secure := tls.Server(c, s.tls.Load())
	ctx, cancel := context.WithTimeout(s.ctx, handshakeTimeout)
	err := secure.HandshakeContext(ctx)
	cancel()
	if err != nil {
		_ = c.Close()
		return
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		newH2(s, c, secure).serve()
		return
	}
	s.handoff.give(c, secure)
}

// handoff is the listener through which net/http gets its connections.
type handoff struct {
	conns chan net.Conn
	done  <-chan struct{}
}

func (h *handoff) give(c *conn, served net.Conn) {
	select {
	case h.conns <- served:
	case <-h.done:
		_ = c.Close()
	}
}

func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error   { return nil }
func (h *handoff) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
