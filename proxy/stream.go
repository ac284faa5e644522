package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"

	"github.com/kuberelay/kuberelay/balancer"
)

// Bodies pass through buffers of three sizes. A watch holds its buffer while
// it waits, for minutes, and there may be thousands; a long answer is passed
// on in few large writes.
const (
	smallCopy  = 8 << 10
	tunnelCopy = 32 << 10
	largeCopy  = 128 << 10
)

var (
	smallBuffers  = sync.Pool{New: func() any { return newBuffer(smallCopy) }}
	tunnelBuffers = sync.Pool{New: func() any { return newBuffer(tunnelCopy) }}
	largeBuffers  = sync.Pool{New: func() any { return newBuffer(largeCopy) }}
)

func newBuffer(size int) *[]byte {
	b := make([]byte, size)
	return &b
}

// directWrite is the size from which net/http's server hands a write to the
// connection whole: a flush after it would send nothing but the end of the
// chunk, as a packet of its own.
const directWrite = 16 << 10

// ready is a body that knows whether more of it can be read without waiting.
type ready interface{ Ready() bool }

// stream passes the response on. Its error is the upstream's: the body broke
// off, and so did the client's connection.
func (x *exchange) stream(ctx context.Context, resp *http.Response) (lost error) {
	defer resp.Body.Close()
	copyHeader(x.w.Header(), resp.Header)
	if x.caller != nil && !x.keepHere(x.w.Header(), resp) {
		return nil
	}
	for name := range resp.Trailer {
		x.w.Header().Add("Trailer", name)
	}
	x.code = resp.StatusCode
	x.w.WriteHeader(resp.StatusCode)
	x.auditStarted()

	if resp.ContentLength == 0 || x.r.Method == http.MethodHead {
		x.flight.streaming(false, nil)
		return nil
	}
	x.streamed = true
	s := bodyStream{x: x, resp: resp, control: http.NewResponseController(x.w)}
	drain := s.prepareDrain()
	x.flight.streaming(x.kind == balancer.Watch, drain)
	if drain != nil && x.h.draining.Load() {
		drain(errDraining)
	}
	err := s.copy()
	switch {
	case err == nil:
		x.trailers(resp.Trailer, s.control)
		return nil
	case errors.Is(err, errDrained):
		x.err = s.stopping.Load().cause
		x.endStream(s.control)
		return nil
	case !s.clientGone && s.frames.boundary() && endedHere(context.Cause(ctx)):
		x.err = context.Cause(ctx)
		x.endStream(s.control)
		return nil
	}
	x.err = causeOf(ctx, err)
	// The client must see an error, not a short answer that looks whole.
	x.abort(s.control)
	if s.clientGone || x.r.Context().Err() != nil {
		return nil
	}
	return err
}

// endStream ends the client's side of a stream, after a whole frame. A watch
// ends cleanly, and its client begins a new one. A log is broken off: after a
// clean end it would pass for complete.
func (x *exchange) endStream(control *http.ResponseController) {
	if x.target.Verb != "watch" {
		x.abort(control)
	}
}

// endedHere reports whether the cause of a stream's end is kuberelay, and neither
// of its sides.
func endedHere(cause error) bool {
	if errors.Is(cause, errDraining) {
		return true
	}
	_, ok := errors.AsType[*EndedError](cause)
	return ok
}

// trailers sends the fields that came after the body. Those that the head did
// not announce need net/http's prefix, and a body that is certain to be chunked.
func (x *exchange) trailers(trailer http.Header, control *http.ResponseController) {
	if len(trailer) == 0 {
		return
	}
	_ = control.Flush() // on error nobody is there to read them
	h := x.w.Header()
	announced := h["Trailer"]
	for name, values := range trailer {
		if !slices.Contains(announced, name) {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// errDrained ends a stream that was asked to end, between two frames.
var errDrained = errors.New("drained")

// errClientLeft is the error of a request whose client closed its connection.
var errClientLeft = errors.New("the client closed the connection")

// causeOf returns who ended the attempt, or err if nobody did.
func causeOf(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errCut), errors.Is(cause, errAbandoned), endedHere(cause):
		return cause
	case errors.Is(cause, context.Canceled):
		return errClientLeft
	}
	return err
}

// abort breaks the client's connection off after what was sent.
func (x *exchange) abort(control *http.ResponseController) {
	_ = control.Flush() // on error the connection is broken already
	x.hangUp()
}

// hangUp closes the client's connection. Without it net/http would end the
// answer, or send an empty one, as if all were well.
func (x *exchange) hangUp() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok && !x.r.ProtoAtLeast(1, 1) {
		// In HTTP/1.0 the connection's end is the answer's: only a reset says
		// that this is none. On error it is closed already.
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// bodyStream copies one response body.
type bodyStream struct {
	x          *exchange
	resp       *http.Response
	control    *http.ResponseController
	clientGone bool

	frames   frames
	stopping atomic.Pointer[stop] // not nil: end at the next frame boundary
	between  atomic.Bool          // no frame is half sent
}

// stop is why a stream is to end.
type stop struct{ cause error }

// prepareDrain returns what ends the stream cleanly; nil for a short body, which
// goes on to its end. The stream keeps passing bytes until a frame is whole; one
// that waits between frames is woken.
func (s *bodyStream) prepareDrain() func(error) {
	if s.x.kind != balancer.Watch {
		return nil
	}
	s.frames.framing = framingOf(s.resp.Header.Get("Content-Type"), s.resp.Header.Get("Content-Encoding"))
	s.between.Store(true)
	cancel := s.x.flight.canceller()
	return func(cause error) {
		s.stopping.Store(&stop{cause})
		if s.between.Load() {
			cancel(cause)
		}
	}
}

// copy passes the body on. Whatever could be read without waiting is sent
// before the next wait, so that a watch event never lies in a buffer.
func (s *bodyStream) copy() error {
	known := s.resp.ContentLength
	more, _ := s.resp.Body.(ready)
	watch := s.x.kind == balancer.Watch
	buffers := &largeBuffers
	if watch || known >= 0 && known <= smallCopy {
		buffers = &smallBuffers
	}
	buf, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if known < 0 { // the answer's head does not wait for its first byte
		if more == nil || !more.Ready() {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	for {
		n, err := s.fill(*buf, more)
		if n > 0 {
			p := (*buf)[:n]
			if watch {
				p = s.frame(p)
			}
			written, werr := s.x.w.Write(p)
			s.x.bytes += int64(written)
			if werr != nil {
				s.clientGone = true
				return werr
			}
			if watch && s.stopping.Load() != nil && s.frames.boundary() {
				return errDrained
			}
			if err == nil && known != s.x.bytes && (watch || n < directWrite) {
				if ferr := s.flush(); ferr != nil {
					return ferr
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fill reads at least once, and on while more is there already.
func (s *bodyStream) fill(buf []byte, more ready) (n int, err error) {
	for {
		var m int
		m, err = s.resp.Body.Read(buf[n:])
		n += m
		if err != nil || n == len(buf) || more == nil || !more.Ready() {
			return n, err
		}
	}
}

// frame follows the frames in p. While the stream is being stopped it cuts p
// off after the last whole frame.
func (s *bodyStream) frame(p []byte) []byte {
	stopping := s.stopping.Load() != nil
	last := s.frames.advance(p)
	if stopping && last > 0 {
		s.frames.inside = false
		return p[:last]
	}
	s.between.Store(s.frames.boundary())
	return p
}

func (s *bodyStream) flush() error {
	err := s.control.Flush()
	if err != nil {
		s.clientGone = true
	}
	return err
}

// hopByHop are the fields that belong to one connection.
//
// Source: RFC 9110, section 7.6.1.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// copyHeader copies a response's end-to-end fields.
func copyHeader(dst, src http.Header) {
	connection := src["Connection"]
	for name, values := range src {
		if hopByHop(name) {
			continue
		}
		if len(connection) > 0 && httpguts.HeaderValuesContainsToken(connection, strings.ToLower(name)) {
			continue
		}
		dst[name] = values
	}
}
