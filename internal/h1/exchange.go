package h1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// exchange is one request and its response on one connection. The response
// and its body are part of it, so that they are one allocation.
type exchange struct {
	t       *Transport
	c       *conn
	stop    func() bool // of the context's AfterFunc; nil for a context that never ends
	send    *sender     // nil when the request went out with its head
	closer  io.Closer   // of the request's body; nil when that is the caller's
	upgrade bool
	single  bool // the connection serves no other request

	received bool   // some byte of a response
	switched []byte // the head of a 101, as it came
	resp     http.Response
	body     body

	mu       sync.Mutex // guards answered, and the read deadline while send runs
	answered bool
}

// run does everything up to the response's head.
func (x *exchange) run(ctx context.Context, r *Request) (*http.Response, *stream, *Error) {
	buf := headBuffers.Get().(*[]byte)
	defer putHeadBuffer(buf)
	head, err := r.appendTo((*buf)[:0], x.upgrade)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		x.closeBody()
		return nil, nil, &Error{Phase: PhaseRequest, Addr: x.t.o.Address, Err: err}
	}
	*buf = head

	timeout := r.HeaderTimeout
	if timeout == 0 {
		timeout = x.t.o.HeaderTimeout
	}
	c, cerr := x.t.checkout(ctx, r.Fresh || x.upgrade, timeout)
	if cerr != nil {
		x.closeBody()
		return nil, nil, cerr
	}
	x.c = c
	if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, func() { c.kill(context.Cause(ctx)) })
	}

	c.sock.written.Store(0)
	if _, err := c.nc.Write(head); err != nil {
		return nil, nil, x.abort(PhaseWrite, err)
	}
	if r.streams() {
		c.disarm() // the sender sets the deadlines now
		x.send = startSender(x, r, timeout)
	} else {
		x.closeBody()
	}
	how, err := x.readHead(r)
	if err == nil && x.resp.StatusCode == http.StatusSwitchingProtocols && !x.upgrade {
		err = fmt.Errorf("%w: 101 to a request that asked for no upgrade", ErrMalformed)
	}
	if err != nil {
		return nil, nil, x.abort(PhaseHeader, err)
	}
	if x.resp.StatusCode == http.StatusSwitchingProtocols {
		return x.handOver(ctx)
	}
	if how == noBody {
		x.resp.Body = http.NoBody
		x.finish(true)
	} else {
		x.body.x, x.body.how, x.body.left = x, how, x.resp.ContentLength
		x.resp.Body = &x.body
	}
	return &x.resp, nil, nil
}

// readHead reads heads until that of the final response, or of a 101.
func (x *exchange) readHead(r *Request) (framing, error) {
	limit := x.t.o.MaxHeaderBytes
	for {
		raw, err := x.c.rd.head("HTTP/1.", limit)
		if err != nil {
			return 0, err
		}
		limit -= len(raw)
		x.received = true
		how, err := parseResponse(&x.resp, raw, r.Method)
		if err != nil {
			return 0, err
		}
		code := x.resp.StatusCode
		if code == http.StatusSwitchingProtocols {
			x.switched = bytes.Clone(raw)
		}
		if code >= 200 || code == http.StatusSwitchingProtocols {
			x.setAnswered()
			return how, nil
		}
		if r.Interim != nil && code != http.StatusContinue {
			r.Interim(code, x.resp.Header)
		}
		x.resp = http.Response{}
	}
}

// setAnswered ends the header timeout where a sender may still start it.
func (x *exchange) setAnswered() {
	if x.send == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered = true
	_ = x.c.sock.SetReadDeadline(time.Time{})
}

// bodySent starts the header timeout, at the end of a streamed body.
func (x *exchange) bodySent(timeout time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.answered && timeout > 0 {
		_ = x.c.sock.SetReadDeadline(time.Now().Add(timeout))
	}
}

// handOver ends the exchange with the connection in the caller's hands.
func (x *exchange) handOver(ctx context.Context) (*http.Response, *stream, *Error) {
	c := x.c
	if x.send != nil && !x.send.settle(true) {
		return nil, nil, x.abort(PhaseHeader, errors.New("101 before the request's body was sent"))
	}
	if x.stop != nil && !x.stop() {
		x.stop = nil
		return nil, nil, x.abort(PhaseHeader, context.Cause(ctx))
	}
	_ = c.sock.SetDeadline(time.Time{})
	x.resp.Body = http.NoBody
	return &x.resp, &stream{Conn: c.nc, c: c, head: x.switched}, nil
}

// finish gives the connection back, or closes it. It is called once, by the
// end of the body or by abort.
func (x *exchange) finish(inOrder bool) {
	c := x.c
	if x.stop != nil && !x.stop() {
		inOrder = false // the context has ended, and c is being killed
	}
	if x.send != nil {
		inOrder = x.send.settle(inOrder) && inOrder
		_ = c.sock.SetDeadline(time.Time{})
	}
	if inOrder && !x.single && !x.resp.Close && c.rd.buffered() == 0 {
		x.t.put(c)
		return
	}
	x.t.discard(c, inOrder)
}

// abort ends the exchange before there is a response to return.
func (x *exchange) abort(phase Phase, err error) *Error {
	e := x.fail(phase, err)
	x.c.kill(e.Err)
	x.finish(false)
	if x.send == nil {
		x.closeBody()
	}
	return e
}

// fail makes err an *Error.
func (x *exchange) fail(phase Phase, err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	err = x.c.blame(err)
	if phase == PhaseHeader && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrHeaderTimeout
	}
	return &Error{
		Phase:    phase,
		Addr:     x.t.o.Address,
		Reused:   x.c.reused,
		Written:  x.c.sock.written.Load(),
		Received: x.received || phase < PhaseBody && x.c.rd.buffered() > 0,
		Err:      err,
	}
}

func (x *exchange) closeBody() {
	if x.closer != nil {
		_ = x.closer.Close()
	}
}
