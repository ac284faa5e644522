package h1

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// errWouldBlock is what a socket in probe mode answers when nothing has come.
// It claims to be temporary because crypto/tls makes every other read error
// permanent.
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// socket is the bottom of a connection, below TLS. It counts what the kernel
// took, and it can be read without waiting (probe mode), which is how an idle
// connection is checked: through TLS, so that session tickets are digested,
// and alerts and bytes already decrypted are seen.
type socket struct {
	net.Conn
	written atomic.Int64

	// probing, raw, inner and the fields of tryRead belong to the
	// connection's current owner.
	probing bool
	raw     syscall.RawConn // nil when Conn has no file descriptor of its own
	inner   *socket         // the socket below Conn when Conn is TLS to a proxy
	try     tryState
}

func newSocket(c net.Conn) *socket {
	if s, ok := c.(*socket); ok {
		return s
	}
	s := &socket{Conn: c}
	switch c := c.(type) {
	case *tls.Conn:
		s.inner, _ = c.NetConn().(*socket)
	case syscall.Conn:
		if raw, err := c.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.try.init()
	return s
}

// NetConn is the connection below, as of a tls.Conn.
func (s *socket) NetConn() net.Conn { return s.Conn }

func (s *socket) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if n > 0 {
		s.written.Add(int64(n))
	}
	return n, err
}

func (s *socket) Read(p []byte) (int, error) {
	if s.probing {
		return s.tryRead(p)
	}
	return s.Conn.Read(p)
}

// tryRead reads what is there, without waiting. A foreign Conn (a custom dial
// function's) cannot be asked; then only what TLS holds above it is seen.
func (s *socket) tryRead(p []byte) (int, error) {
	switch {
	case s.inner != nil:
		s.inner.probing = true
		n, err := s.Conn.Read(p)
		s.inner.probing = false
		return n, err
	case s.raw != nil:
		return s.try.read(s.raw, p)
	}
	return 0, errWouldBlock
}

// isClosedByPeer reports whether err is how a read or write says that the
// other side is gone.
func isClosedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// closeWrite half-closes the connection, where its kind can.
func (s *socket) closeWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
