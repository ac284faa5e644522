package h1

import (
	"errors"
	"time"
)

var errDiscarded = errors.New("connection is not used any more")

// track adds a new connection, unless CloseConnections ran since its dial
// began (cuts was counted then): the upstream was declared down meanwhile.
func (t *Transport) track(c *conn, cuts uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cuts != cuts {
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

// cutsNow returns how often CloseConnections has run.
func (t *Transport) cutsNow() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cuts
}

// pop takes the connection that was used last. When that one has been idle
// for too long, so have all others.
func (t *Transport) pop(now time.Time) *conn {
	t.mu.Lock()
	n := len(t.idle)
	if n == 0 {
		t.mu.Unlock()
		return nil
	}
	c := t.idle[n-1]
	if now.Sub(c.idleAt) >= t.o.IdleTimeout {
		t.mu.Unlock()
		t.CloseIdle()
		return nil
	}
	t.idle[n-1] = nil
	t.idle = t.idle[:n-1]
	t.mu.Unlock()
	return c
}

// put takes a connection back whose exchange is complete.
func (t *Transport) put(c *conn) {
	c.rd.shrink()
	c.idleAt = time.Now()
	t.mu.Lock()
	keep := !t.retired && len(t.idle) < t.o.MaxIdle && c.cause.Load() == nil
	if keep {
		if len(t.idle) == 0 && !t.sweeping {
			t.sweeping = true
			t.janitor.Reset(t.o.IdleTimeout)
		}
		t.idle = append(t.idle, c)
	}
	t.mu.Unlock()
	if !keep {
		t.discard(c, true)
	}
}

// discard closes a connection and forgets it: with TLS's farewell when it is
// in good order, at once otherwise.
func (t *Transport) discard(c *conn, inOrder bool) {
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
	if inOrder && c.cause.Load() == nil {
		_ = c.nc.Close()
		return
	}
	c.kill(errDiscarded)
}

// sweep closes what has been idle for too long; it runs on the janitor's
// timer, about once in IdleTimeout, and not at all while nothing is idle.
func (t *Transport) sweep() {
	now := time.Now()
	t.mu.Lock()
	n := 0 // the oldest are at the bottom
	for n < len(t.idle) && now.Sub(t.idle[n].idleAt) >= t.o.IdleTimeout {
		n++
	}
	expired := t.takeIdle(n)
	t.sweeping = len(t.idle) > 0
	if t.sweeping {
		t.janitor.Reset(t.o.IdleTimeout - now.Sub(t.idle[0].idleAt))
	}
	t.mu.Unlock()
	for _, c := range expired {
		t.discard(c, true)
	}
}

// takeIdle removes the n connections at the bottom of the stack. t.mu is held.
func (t *Transport) takeIdle(n int) []*conn {
	taken := append([]*conn(nil), t.idle[:n]...)
	rest := copy(t.idle, t.idle[n:])
	clear(t.idle[rest:])
	t.idle = t.idle[:rest]
	return taken
}

// CloseIdle closes the connections in the pool.
func (t *Transport) CloseIdle() {
	t.mu.Lock()
	idle := t.takeIdle(len(t.idle))
	t.mu.Unlock()
	for _, c := range idle {
		t.discard(c, true)
	}
}

// Close retires the transport: connections in the pool are closed, those in
// use are closed after their response, upgraded ones stay. A request that
// still comes is served, on a connection of its own. Close does not wait.
func (t *Transport) Close() {
	t.mu.Lock()
	t.retired = true
	t.janitor.Stop()
	t.sweeping = false
	t.mu.Unlock()
	t.CloseIdle()
}

// CloseConnections closes all connections at once, also those in use, in a
// handshake, or upgraded: their users get an *Error with ErrClosed in its
// chain. Later requests dial anew.
func (t *Transport) CloseConnections() {
	t.mu.Lock()
	t.cuts++
	conns := make([]*conn, 0, len(t.conns))
	for c := range t.conns {
		conns = append(conns, c)
	}
	for _, c := range t.takeIdle(len(t.idle)) {
		delete(t.conns, c) // the others are forgotten by their users
	}
	t.mu.Unlock()
	for _, c := range conns {
		c.kill(ErrClosed)
	}
}
