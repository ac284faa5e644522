package h1

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Transport sends requests to one upstream. It is safe for concurrent use.
type Transport struct {
	o Options

	mu       sync.Mutex
	conns    map[*conn]struct{} // all that are open, also upgraded ones
	idle     []*conn            // a stack: the last used is used first
	janitor  *time.Timer        // calls sweep
	sweeping bool               // janitor is running
	retired  bool               // Close was called
	cuts     uint64             // how often CloseConnections ran

	dials, reuses atomic.Uint64 // by which tests tell how requests were sent
}

// New returns a Transport. It opens nothing yet, and has no goroutine.
func New(o Options) *Transport {
	t := &Transport{o: o.withDefaults(), conns: make(map[*conn]struct{})}
	t.janitor = time.AfterFunc(time.Hour, t.sweep)
	t.janitor.Stop()
	return t
}

// Do sends r and returns as soon as the response's head is there. The
// response's Body is never nil; the connection is in use until the Body is
// read to its end or closed. Response.Request and Response.TLS are not set.
//
// When ctx ends, the connection is closed at once, also while the Body is
// read. The error is always an *Error.
func (t *Transport) Do(ctx context.Context, r *Request) (*http.Response, error) {
	resp, _, err := t.do(ctx, r, false, nil)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// RoundTrip implements http.RoundTripper on Do. See FromHTTP for the bytes
// that go upstream, and note that no User-Agent is added.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, _, err := t.do(req.Context(), FromHTTP(req), false, req.Body)
	if err != nil {
		return nil, err
	}
	resp.Request = req
	return resp, nil
}

// Upgrade sends r, with its Connection and Upgrade fields, on a connection of
// its own. When the upstream answers 101, the connection is returned: it
// first reads what came after the head, CloseConnections cuts it, the caller
// closes it, and ctx has no part in it any more. Any other answer is a normal
// response, with a nil connection.
func (t *Transport) Upgrade(ctx context.Context, r *Request) (*http.Response, Upgraded, error) {
	resp, stream, err := t.do(ctx, r, true, nil)
	if err != nil {
		return nil, nil, err
	}
	if stream == nil {
		return resp, nil, nil
	}
	return resp, stream, nil
}

// do runs one exchange. closer, when not nil, is closed when the request's
// body is no longer needed.
func (t *Transport) do(ctx context.Context, r *Request, upgrade bool, closer io.Closer) (*http.Response, *stream, *Error) {
	x := &exchange{t: t, closer: closer, upgrade: upgrade, single: upgrade || r.Close}
	return x.run(ctx, r)
}

// checkout returns a pooled connection that is still good, or a new one. The
// header timeout is armed on it.
func (t *Transport) checkout(ctx context.Context, fresh bool, timeout time.Duration) (*conn, *Error) {
	for !fresh {
		now := time.Now()
		c := t.pop(now)
		if c == nil {
			break
		}
		c.arm(now, timeout)
		if c.quiet() {
			c.reused = true
			t.reuses.Add(1)
			return c, nil
		}
		t.discard(c, false)
	}
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.arm(time.Now(), timeout)
	return c, nil
}
