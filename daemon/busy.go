package daemon

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// busy tracks the connections of a server on which a request may be under way,
// including those that were accepted and on which nothing has arrived yet.
//
// Once [http.Server.Shutdown] was called, net/http closes a connection without
// a word when it has read a request there. A client whose connection is new
// takes that for a failure and repeats nothing; so a server is shut down only
// once it is not busy. Closing idle connections does no harm: clients expect
// it.
type busy struct {
	mu     sync.Mutex
	fresh  map[net.Conn]struct{} // guarded by mu: accepted, without a request so far
	active map[net.Conn]struct{} // guarded by mu
}

// silentAfter is how long a shutdown waits for an accepted connection on which
// nothing has arrived.
const silentAfter = time.Second

// note is the server's ConnState.
func (b *busy) note(c net.Conn, s http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fresh == nil {
		b.fresh, b.active = make(map[net.Conn]struct{}), make(map[net.Conn]struct{})
	}
	delete(b.fresh, c)
	delete(b.active, c)
	switch s {
	case http.StateNew:
		b.fresh[c] = struct{}{}
	case http.StateActive:
		b.active[c] = struct{}{}
	}
}

func (b *busy) count() (fresh, active int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.fresh), len(b.active)
}

// await waits until no request is under way, or ctx ends.
func (b *busy) await(ctx context.Context) {
	began := time.Now()
	poll(ctx, 5*time.Millisecond, func() bool {
		fresh, active := b.count()
		return active == 0 && (fresh == 0 || time.Since(began) > silentAfter)
	})
}

// end shuts a server down whose listeners are closed, and loses no request.
func (l *listener) end(ctx context.Context) error {
	l.accepting.Wait()
	l.server.SetKeepAlivesEnabled(false) // closes those that are idle
	l.busy.await(ctx)
	return l.server.Shutdown(ctx)
}
