package fakeapi

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Fault is something wrong with a server as a whole, below HTTP.
type Fault uint8

// The faults of [Server.SetFault].
const (
	NoFault       Fault = iota
	HangHandshake       // new connections: accepted and read, the TLS handshake is never answered
	ResetOnAccept       // new connections: accepted and reset
	Mute                // all connections: what arrives is read, nothing is ever sent (one-way loss)
	Freeze              // all connections: nothing is read, nothing is sent (SIGSTOP); the kernel still accepts
)

// conn is the TCP connection below TLS.
type conn struct {
	net.Conn
	id       int64
	srv      *Server
	requests atomic.Int64 // received on it so far
	active   atomic.Int64 // being answered
	doomed   atomic.Bool  // close when the next byte arrives

	once   sync.Once
	closed chan struct{}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.srv.await(c, Freeze) {
		return 0, net.ErrClosed
	}
	if n > 0 && c.doomed.Load() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	if !c.srv.await(c, Freeze, Mute) {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

// Close closes as the kernel does for a process that ends: FIN, without TLS'
// close_notify.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		err = c.Conn.Close()
		c.srv.forget(c)
	})
	return err
}

// CloseWrite is for the half-close of upgraded connections.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// reset closes with RST.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only when it is closed already
	}
	_ = c.Close()
}

// await blocks while one of the faults is on. It reports false when the
// connection was closed meanwhile.
func (s *Server) await(c *conn, faults ...Fault) bool {
	for {
		s.mu.Lock()
		now, changed := s.fault, s.faultChanged
		s.mu.Unlock()
		blocked := false
		for _, f := range faults {
			blocked = blocked || f == now
		}
		if !blocked {
			return true
		}
		select {
		case <-changed:
		case <-c.closed:
			return false
		}
	}
}

// SetFault switches a fault on, or with NoFault off again. What it held back
// then goes on.
func (s *Server) SetFault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	close(s.faultChanged)
	s.faultChanged = make(chan struct{})
}

// CloseIdleOnNextByte arms every open HTTP/1.1 connection that is idle now: it is
// closed, unread, as soon as the client sends its next request on it. That is
// the race of a client's keep-alive with a server's idle timeout. It returns how
// many were armed.
func (s *Server) CloseIdleOnNextByte() int {
	n := 0
	for _, c := range s.open() {
		if c.requests.Load() > 0 && c.active.Load() == 0 {
			c.doomed.Store(true)
			n++
		}
	}
	return n
}

// CutConnections resets all open connections.
func (s *Server) CutConnections() {
	for _, c := range s.open() {
		c.reset()
	}
}

// Connections returns how many connections are open, and how many were accepted
// since the start.
func (s *Server) Connections() (open int, accepted int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.accepted
}

func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
