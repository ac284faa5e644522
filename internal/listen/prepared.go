package listen

import "net"

// Prepare makes of an accepted connection the one that is served, say with
// TLS around it, or with what is known of its peer. Nil refuses it.
type Prepare func(net.Conn) net.Conn

// Prepared returns l with each connection that it accepts prepared. One that
// is refused is closed and the next is waited for.
//
// prepare is called by Accept, one connection at a time, so it must not wait
// for the client: a TLS handshake belongs to the goroutine that serves the
// connection. What prepare does may change from one connection to the next; so
// a reload changes a listener's TLS configuration without opening its socket
// anew. An accepted connection belongs to prepare: what it returns must close
// it.
func Prepared(l net.Listener, prepare Prepare) net.Listener {
	return &preparedListener{l, prepare}
}

type preparedListener struct {
	net.Listener
	prepare Prepare
}

func (l *preparedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if prepared := l.prepare(c); prepared != nil {
			return prepared, nil
		}
		c.Close()
	}
}
