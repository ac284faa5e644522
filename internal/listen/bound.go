package listen

import (
	"net"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Bound limits the connections of l that are open at once to
// o.MaxConnections. [Listen]'s listeners are bounded already; this is for
// those that were inherited.
func Bound(l net.Listener, o Options) net.Listener {
	limit := o.MaxConnections
	if limit < 0 {
		return l
	}
	if limit == 0 {
		limit = DefaultMaxConnections
	}
	log := o.Log
	if log == nil {
		log = zap.NewNop()
	}
	return &boundListener{
		Listener: l,
		slots:    make(chan struct{}, limit),
		closed:   make(chan struct{}),
		log:      log,
	}
}

type boundListener struct {
	net.Listener
	slots     chan struct{} // holds one element per open connection
	closed    chan struct{}
	closeOnce sync.Once
	full      atomic.Bool // whether the log knows
	log       *zap.Logger
}

// Accept waits for a free slot before it takes a connection from the kernel,
// whose queue is where the surplus belongs.
func (l *boundListener) Accept() (net.Conn, error) {
	if err := l.acquire(); err != nil {
		return nil, err
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.release()
		return nil, err
	}
	release := sync.OnceFunc(l.release)
	switch c := c.(type) {
	case *net.TCPConn:
		return &tcpConn{c, release}, nil
	case *net.UnixConn:
		return &unixConn{c, release}, nil
	}
	return &anyConn{c, release}, nil
}

func (l *boundListener) acquire() error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	if !l.full.Swap(true) {
		l.log.Warn("too many open connections, new ones wait",
			zap.Stringer("address", l.Addr()), zap.Int("limit", cap(l.slots)))
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-l.closed:
		return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
	}
}

func (l *boundListener) release() {
	<-l.slots
	// Ready to warn again once there is real room: no line for each
	// connection of a crowd that stays at the limit.
	if len(l.slots) <= cap(l.slots)/2 {
		l.full.Store(false)
	}
}

// Close ends a waiting Accept too.
func (l *boundListener) Close() error {
	l.closeOnce.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// The connections keep their concrete type's methods: sendfile and splice
// (ReadFrom, WriteTo), CloseWrite, and SyscallConn for the peer's credentials.
type (
	tcpConn struct {
		*net.TCPConn
		release func()
	}
	unixConn struct {
		*net.UnixConn
		release func()
	}
	anyConn struct {
		net.Conn
		release func()
	}
)

func (c *tcpConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}

func (c *unixConn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

func (c *anyConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
