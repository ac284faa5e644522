package h1

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// conn is one connection. It has one owner at a time: the pool, or the
// exchange that uses it. Only kill may be called by others.
type conn struct {
	t      *Transport
	sock   *socket
	nc     net.Conn // sock, or TLS over it
	rd     reader
	reused bool
	armed  time.Time // the deadline that is set on sock; zero: none
	idleAt time.Time
	one    [1]byte
	cause  atomic.Pointer[error]
}

// kill closes the connection at once, from any goroutine. The first cause is
// what its user's errors will say.
func (c *conn) kill(cause error) {
	c.cause.CompareAndSwap(nil, &cause)
	_ = c.sock.Close()
}

// blame replaces what a killed connection's read or write says by the reason
// why it was killed.
func (c *conn) blame(err error) error {
	if cause := c.cause.Load(); cause != nil {
		return *cause
	}
	return err
}

// arm sees to it that a deadline about timeout away is set. Setting one costs
// a timer operation in the runtime's poller, so a deadline is left standing
// and renewed only when it has become more than an eighth too short.
func (c *conn) arm(now time.Time, timeout time.Duration) {
	if timeout < 0 {
		c.disarm()
		return
	}
	if left := c.armed.Sub(now); left <= timeout && left >= timeout-timeout/8 {
		return
	}
	c.armed = now.Add(timeout)
	_ = c.sock.SetDeadline(c.armed) // fails on a closed connection only, as the next use will
}

func (c *conn) disarm() {
	if !c.armed.IsZero() {
		c.armed = time.Time{}
		_ = c.sock.SetDeadline(c.armed)
	}
}

// startProbe makes reads return errWouldBlock instead of waiting.
func (c *conn) startProbe() {
	c.disarm() // a deadline that has passed would answer in the socket's place
	c.sock.probing = true
}

func (c *conn) endProbe() { c.sock.probing = false }

// quiet reports that the peer has neither closed the connection nor sent
// anything since the last response. Unasked bytes could pass for the answer to
// the next request, which may be another client's.
func (c *conn) quiet() bool {
	c.sock.probing = true
	n, err := c.nc.Read(c.one[:])
	c.sock.probing = false
	return n == 0 && err == errWouldBlock
}

// dial makes a connection, TLS included.
func (t *Transport) dial(ctx context.Context) (*conn, *Error) {
	cuts := t.cutsNow()
	t.dials.Add(1)
	dialCtx, cancel := context.WithTimeout(ctx, t.o.DialTimeout)
	nc, err := t.o.Dial(dialCtx, "tcp", t.o.Address)
	cancel()
	if err != nil {
		return nil, &Error{Phase: PhaseDial, Addr: t.o.Address, Err: ended(ctx, err)}
	}
	c := &conn{t: t, sock: newSocket(nc)}
	c.nc = c.sock
	if !t.track(c, cuts) {
		_ = nc.Close()
		return nil, &Error{Phase: PhaseDial, Addr: t.o.Address, Err: ErrClosed}
	}
	if t.o.TLS != nil {
		tc := tls.Client(c.sock, t.o.TLS)
		tlsCtx, cancel := context.WithTimeout(ctx, t.o.HandshakeTimeout)
		err := tc.HandshakeContext(tlsCtx)
		cancel()
		if err != nil {
			err = ended(ctx, c.blame(err))
			t.discard(c, false)
			return nil, &Error{Phase: PhaseHandshake, Addr: t.o.Address, Err: err}
		}
		c.nc = tc
	}
	c.rd.src = c.nc
	return c, nil
}

// ended returns the reason why the request's context has ended, if it has,
// and else err.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
