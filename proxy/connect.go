package proxy

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/kuberelay/kuberelay/internal/h1"
)

// connector opens the connections of the HTTP/2 transport within the limits
// that package h1 has for its own: net/http waits for a dial as long as the
// kernel does, and does not tell a failed handshake from a lost request.
type connector struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	tls  *tls.Config // nil for an http:// server
}

// connectError is why there is no connection: nothing of a request was sent.
type connectError struct{ error }

func (e connectError) Unwrap() error { return e.error }

// plain opens a TCP connection.
func (c *connector) plain(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, h1.DefaultDialTimeout)
	defer cancel()
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, connectError{err}
	}
	return conn, nil
}

// secure opens a TLS connection.
func (c *connector) secure(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.plain(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, h1.DefaultHandshakeTimeout)
	defer cancel()
	secure := tls.Client(conn, c.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, connectError{err}
	}
	return secure, nil
}
