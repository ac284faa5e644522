package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/internal/peer"
	"github.com/kuberelay/kuberelay/proxy"
)

// listener is one address and what serves it. A reload changes what is served
// there, and with which certificate, and leaves the connections alone.
type listener struct {
	daemon  *Daemon
	address string
	now     atomic.Pointer[serving] // set before it is opened
	server  *http.Server
	busy    busy
	sockets []net.Listener // set by open

	accepting sync.WaitGroup // connections of the sockets
}

// serving is what is served at an address. It is immutable.
type serving struct {
	config  config.Listener
	handler *proxy.Handler
	tls     *certificates // nil: plain
}

// readHeaderTimeout and idleTimeout bound how long a client may hold a
// connection without a request.
const (
	readHeaderTimeout = 30 * time.Second
	idleTimeout       = 5 * time.Minute
)

func (d *Daemon) newListener(address string) (*listener, error) {
	errorLog, err := serverLog(d.log)
	if err != nil {
		return nil, err
	}
	l := &listener{daemon: d, address: address}
	l.server = &http.Server{
		Handler:           l,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          errorLog,
		ConnContext:       l.connected,
		ConnState:         l.busy.note,
		// OPTIONS * is a request like any other.
		DisableGeneralOptionsHandler: true,
	}
	return l, nil
}

func (l *listener) config() config.Listener { return l.now.Load().config }

// addr is the address in use; nil before open.
func (l *listener) addr() net.Addr {
	if len(l.sockets) == 0 {
		return nil
	}
	return l.sockets[0].Addr()
}

// open opens the address. Connections wait in the kernel's queue until serve.
func (l *listener) open(ctx context.Context) error {
	c := l.config()
	o := listen.Options{Log: l.daemon.log, SocketMode: os.FileMode(c.SocketMode)}
	sockets, err := l.daemon.options.Inherited.Listen(ctx, l.address, o)
	if err != nil {
		return err
	}
	l.sockets = sockets
	for _, socket := range sockets {
		if err := c.CheckBound(socket.Addr()); err != nil {
			l.close()
			l.sockets = nil
			return err // which names the listener
		}
	}
	return nil
}

// serve answers the connections of an opened listener until it is closed.
func (l *listener) serve() {
	l.warn()
	for _, socket := range l.sockets {
		l.accepting.Add(1)
		l.daemon.work.Go(func() {
			defer l.accepting.Done()
			err := l.server.Serve(listen.Prepared(socket, l.prepare))
			if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) { // close closes both
				l.daemon.fail(fmt.Errorf("listener %s: %w", l.config().Name, err))
			}
		})
	}
}

// warn says what a listener gives away.
func (l *listener) warn() {
	c := l.config()
	if c.Mode == config.Single && !listen.Loopback(l.addr()) {
		l.daemon.log.Warn("the listener is not on a loopback address: everyone who reaches it calls the cluster with this kubeconfig's credential",
			zap.Stringer("address", l.addr()))
	}
}

// close closes the sockets. Requests that are under way go on.
func (l *listener) close() {
	for _, socket := range l.sockets {
		socket.Close()
	}
}

// connection is what a connection is known by for as long as it lives.
type connection struct {
	peer      identify.Peer
	authority authority // that client certificates were verified with
}

type connectionKey struct{}

// connected finds out who is at the other end, once for each connection.
func (l *listener) connected(ctx context.Context, c net.Conn) context.Context {
	if l.config().Mode != config.Shared {
		return ctx
	}
	p := peer.Of(c)
	known := &connection{peer: identify.Peer{
		UID: p.UID, UIDKnown: p.Known, Why: p.Why, Unix: p.Unix,
		// Between two of this host's addresses the user is not known, and a
		// token that is bound to another user must not pass.
		Loopback: p.Loopback || !p.Unix && l.daemon.addresses.has(c.RemoteAddr()),
	}}
	if secure, ok := c.(*tls.Conn); ok {
		if m, ok := secure.NetConn().(*marked); ok {
			known.authority = m.authority
		}
	}
	return context.WithValue(ctx, connectionKey{}, known)
}

// peerOf is what is known of a request's connection. A connection accepted in
// single mode was never looked up: treat it as loopback, user unknown.
func peerOf(r *http.Request) *identify.Peer {
	if known, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		return &known.peer
	}
	return &identify.Peer{Loopback: true, Why: "the connection was accepted while the listener's mode was single"}
}

// ServeHTTP hands a request to what serves the address now.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := l.now.Load()
	if s.config.Mode == config.Single && r.Method == http.MethodOptions && r.RequestURI == "*" {
		w.Header().Set("Content-Length", "0") // net/http's answer, and so kubectl proxy's
		return
	}
	if l.stale(r) {
		// The certificate no longer counts, and the client has to connect
		// again.
		r = r.WithContext(r.Context())
		r.TLS = nil
		w.Header().Set("Connection", "close")
	}
	s.handler.ServeHTTP(w, r)
}

// stale reports whether a request's client certificate was verified with an
// authority that is no longer the listener's.
func (l *listener) stale(r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	known, ok := r.Context().Value(connectionKey{}).(*connection)
	now := l.now.Load()
	return !ok || now.tls == nil || known.authority != now.tls.authority()
}

// marked is a connection below TLS that remembers with which authority it
// verifies clients.
type marked struct {
	net.Conn
	authority authority
}

// NetConn returns the connection itself.
func (m *marked) NetConn() net.Conn { return m.Conn }

// prepare puts TLS on an accepted connection, with the current certificate.
func (l *listener) prepare(c net.Conn) net.Conn {
	s := l.now.Load()
	if s.tls == nil {
		return c
	}
	state := s.tls.current.Load()
	return tls.Server(&marked{c, state.authority}, state.config)
}

// update changes what is served at an address that stays.
func (l *listener) update(s *serving) error {
	old := l.now.Swap(s)
	if old.config.Mode == config.Single && s.config.Mode == config.Shared {
		old.handler.Retire(errRemoved)
		l.daemon.registry.EndAnonymous(l, errRemoved)
	}
	if old.tls != nil && (s.tls == nil || s.tls.authority() != old.tls.authority()) {
		l.daemon.endCertificates(s.config.Name)
	}
	path, isPath := strings.CutPrefix(l.address, "unix:")
	if isPath && old.config.SocketMode != s.config.SocketMode && !strings.HasPrefix(path, "@") {
		return os.Chmod(strings.TrimPrefix(path, "//"), os.FileMode(s.config.SocketMode))
	}
	return nil
}

// errRemoved ends what is open at a single listener that was removed or became
// a shared one.
var errRemoved = proxy.NewEndedError(proxy.CloseRemoved, "the listener was removed from the configuration, or identifies its clients now")

// retire stops accepting and lets what is under way end within the grace time.
func (l *listener) retire(grace time.Duration) {
	l.close()
	l.daemon.work.Go(func() {
		ctx, cancel := context.WithTimeout(l.daemon.background, grace)
		defer cancel()
		// Its error is that the time was up: then connections are cut.
		_ = l.end(ctx)
		_ = l.server.Close()
		<-ctx.Done() // tunnels are not the server's any more
		l.now.Load().handler.Retire(errRemoved)
		l.daemon.registry.EndAnonymous(l, errRemoved)
	})
}
