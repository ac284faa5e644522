package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// ControlOptions are what a control socket shows and does.
type ControlOptions struct {
	Options    // as of the admin server; Source is not used
	Operations Operations

	// PeerUID returns the user ID of the process at the other end of an
	// accepted connection, for the log; nil: none is known.
	PeerUID func(net.Conn) (uid uint32, ok bool)
}

// Control is the operators' server: it serves everything that [Server] does, the
// [Operations], and profiles. Whoever can connect may use all of it, so it
// belongs on a Unix socket. Make one with [NewControl].
type Control struct {
	options ControlOptions
	http    *http.Server
	now     func() time.Time
}

// NewControl prepares the server. It does not serve yet.
func NewControl(o ControlOptions) (*Control, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p, err := newPages(o.Options)
	if err != nil {
		return nil, err
	}
	p.more = `/control/v1/    reload, drain, undrain, revoke, unrevoke, log-level
/debug/pprof/   profiles
`
	c := &Control{options: o, now: time.Now}
	mux := http.NewServeMux()
	mux.Handle("/", p.handler())
	mux.Handle("/debug/pprof/", readOnly(profiles()))
	c.mount(mux)
	c.http = newHTTP(guard(nil, "", mux), p.errorLog)
	c.http.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if o.PeerUID == nil {
			return ctx
		}
		if uid, ok := o.PeerUID(conn); ok {
			return context.WithValue(ctx, uidKey{}, uid)
		}
		return ctx
	}
	return c, nil
}

// Serve answers the connections of l, and closes it at the end. It returns nil
// after [Control.Shutdown]. It is l that bounds how many connections there may be
// at once. It can be called for several listeners.
func (c *Control) Serve(l net.Listener) error {
	if err := c.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control socket %s: %w", l.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting and waits until the running requests are answered.
// When ctx ends first, it cuts them off and returns ctx's error.
func (c *Control) Shutdown(ctx context.Context) error {
	if err := c.http.Shutdown(ctx); err != nil {
		_ = c.http.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// uidKey finds the peer's user ID in the context of a connection.
type uidKey struct{}

// by is the field of the log that says who asks.
func by(ctx context.Context) zap.Field {
	if uid, ok := ctx.Value(uidKey{}).(uint32); ok {
		return zap.Uint32("uid", uid)
	}
	return zap.String("uid", "unknown")
}

// extend gives a slow request d more time. The server's read timeout would end
// the request's context, too.
func extend(w http.ResponseWriter, d time.Duration) {
	rc := http.NewResponseController(w)
	at := time.Now().Add(d)
	_ = rc.SetReadDeadline(at)                    // a recorder in a test has no deadlines
	_ = rc.SetWriteDeadline(at.Add(writeTimeout)) // likewise
}
