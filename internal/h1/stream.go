package h1

import (
	"io"
	"net"
)

// Upgraded is a connection that has switched protocols.
type Upgraded interface {
	net.Conn
	// Head is the head of the 101 as it came, with its empty line.
	Head() []byte
	// NetConn is the connection below, as of a tls.Conn.
	NetConn() net.Conn
	// CloseWrite tells the upstream that nothing more will come.
	CloseWrite() error
}

// stream is an upgraded connection. It stays in the transport's books until
// it is closed.
type stream struct {
	net.Conn
	c    *conn
	head []byte
}

func (s *stream) Head() []byte      { return s.head }
func (s *stream) NetConn() net.Conn { return s.Conn }

// Read first reads what came along with the response's head. One goroutine
// reads at a time.
func (s *stream) Read(p []byte) (int, error) {
	if s.c.rd.buffered() > 0 {
		return s.c.rd.read(p)
	}
	s.c.rd.buf = nil
	n, err := s.Conn.Read(p)
	return n, s.explain(err)
}

func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	return n, s.explain(err)
}

// explain names the cause when the connection was cut by us.
func (s *stream) explain(err error) error {
	if err == nil || err == io.EOF && s.c.cause.Load() == nil {
		return err
	}
	if cause := s.c.cause.Load(); cause != nil {
		return &Error{Phase: PhaseBody, Addr: s.c.t.o.Address, Received: true, Err: *cause}
	}
	return err
}

func (s *stream) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.c.sock.closeWrite()
}

// Close closes the connection.
func (s *stream) Close() error {
	s.c.t.discard(s.c, true)
	return nil
}
