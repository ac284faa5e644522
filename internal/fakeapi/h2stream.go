package fakeapi

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// stream is one request over HTTP/2, and the [http.ResponseWriter] for it.
type stream struct {
	conn   *h2
	id     uint32
	ctx    context.Context
	cancel context.CancelFunc
	body   *requestBody
	window int64 // guarded by conn.mu; what may be sent

	// Of the handler's goroutine.
	header http.Header
	sent   bool // the final response's HEADERS
	head   bool // no body: HEAD, 204, 304

	mu   sync.Mutex
	over bool // guarded by mu; nothing more is written
}

func newStream(h *h2, id uint32, window int64) *stream {
	s := &stream{conn: h, id: id, window: window, header: http.Header{}}
	s.ctx, s.cancel = context.WithCancel(h.ctx)
	s.body = newRequestBody(func(n int) {
		_ = h.write(func() error { return h.framer.WriteWindowUpdate(id, uint32(n)) }) // the client may be gone
	})
	return s
}

// Header is the response's header, and after it was sent, the trailers.
func (s *stream) Header() http.Header { return s.header }

// WriteHeader sends the head. A 1xx may be followed by another one.
func (s *stream) WriteHeader(code int) {
	if s.sent || s.isOver() {
		return
	}
	if code >= 200 {
		s.sent = true
		s.head = s.head || code == http.StatusNoContent || code == http.StatusNotModified
		if strings.EqualFold(s.header.Get("Connection"), "close") {
			s.conn.goAway(0)
		}
	}
	fields := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(code)}}
	_ = s.writeBlock(append(fields, fieldsOf(s.header)...), false) // the client may be gone
}

// fieldsOf lists the header as HTTP/2 wants it: lower-case, and nothing that
// belongs to a connection.
func fieldsOf(header http.Header) []hpack.HeaderField {
	var fields []hpack.HeaderField
	for name, values := range header {
		switch name {
		case "Connection", "Transfer-Encoding", "Keep-Alive", "Upgrade":
			continue
		}
		for _, v := range values {
			fields = append(fields, hpack.HeaderField{Name: strings.ToLower(name), Value: v})
		}
	}
	return fields
}

// writeBlock sends a header block as HEADERS and CONTINUATION.
func (s *stream) writeBlock(fields []hpack.HeaderField, last bool) error {
	h := s.conn
	h.mu.Lock()
	size := h.maxFrame
	h.mu.Unlock()
	return h.write(func() error {
		h.encoded.Reset()
		for _, f := range fields {
			if err := h.encoder.WriteField(f); err != nil {
				return err
			}
		}
		rest := h.encoded.Bytes()
		piece := rest[:min(size, len(rest))]
		rest = rest[len(piece):]
		err := h.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: s.id, BlockFragment: piece, EndStream: last, EndHeaders: len(rest) == 0})
		for err == nil && len(rest) > 0 {
			piece = rest[:min(size, len(rest))]
			rest = rest[len(piece):]
			err = h.framer.WriteContinuation(s.id, len(rest) == 0, piece)
		}
		return err
	})
}

// Write sends DATA frames as the client's windows allow.
func (s *stream) Write(p []byte) (int, error) {
	if !s.sent {
		s.WriteHeader(http.StatusOK)
	}
	if s.head {
		return len(p), nil
	}
	written := 0
	for len(p) > 0 {
		n := s.reserve(len(p))
		if n == 0 {
			return written, io.ErrClosedPipe
		}
		h := s.conn
		if err := h.write(func() error { return h.framer.WriteData(s.id, false, p[:n]) }); err != nil {
			return written, err
		}
		p, written = p[n:], written+n
	}
	return written, nil
}

// reserve takes up to want bytes from the windows, and waits for them. 0 means
// that the stream is over.
func (s *stream) reserve(want int) int {
	h := s.conn
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		if h.dead || s.isOver() {
			return 0
		}
		if n := min(int64(want), int64(h.maxFrame), h.window, s.window); n > 0 {
			h.window -= n
			s.window -= n
			return int(n)
		}
		h.space.Wait()
	}
}

// Flush sends the head; DATA is never held back.
func (s *stream) Flush() {
	if !s.sent {
		s.WriteHeader(http.StatusOK)
	}
}

// finish ends a stream whose handler returned.
func (s *stream) finish() {
	defer s.abandon()
	if s.isOver() {
		return
	}
	if !s.sent {
		s.WriteHeader(http.StatusOK)
	}
	h := s.conn
	var trailers []hpack.HeaderField
	for _, announced := range s.header.Values("Trailer") {
		for name := range strings.SplitSeq(announced, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			trailers = append(trailers, fieldsOf(http.Header{name: s.header[name]})...)
		}
	}
	var err error
	if len(trailers) > 0 {
		err = s.writeBlock(trailers, true)
	} else {
		err = h.write(func() error { return h.framer.WriteData(s.id, true, nil) })
	}
	if err == nil && !s.body.complete() { // RFC 9113 §8.1: answered without reading on
		_ = h.write(func() error { return h.framer.WriteRSTStream(s.id, http2.ErrCodeNo) })
	}
}

// reset ends the stream with an error code.
func (s *stream) reset(code http2.ErrCode) {
	if s.isOver() {
		return
	}
	h := s.conn
	_ = h.write(func() error { return h.framer.WriteRSTStream(s.id, code) }) // the client may be gone
	s.abandon()
}

// abandon ends the stream without another frame.
func (s *stream) abandon() {
	s.mu.Lock()
	over := s.over
	s.over = true
	s.mu.Unlock()
	if over {
		return
	}
	s.cancel()
	s.body.fail(io.ErrUnexpectedEOF)
	s.conn.forget(s)
}

func (s *stream) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// requestBody holds what the client sent until the handler reads it.
type requestBody struct {
	read func(n int) // gives n bytes of window back

	mu    sync.Mutex
	ready *sync.Cond
	data  []byte // guarded by mu
	err   error  // guarded by mu; after data: io.EOF, or why there is no more
}

func newRequestBody(read func(int)) *requestBody {
	b := &requestBody{read: read}
	b.ready = sync.NewCond(&b.mu)
	return b
}

func (b *requestBody) put(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	b.ready.Broadcast()
}

// fail ends the body; the first reason counts.
func (b *requestBody) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.ready.Broadcast()
}

func (b *requestBody) complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == io.EOF
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	for len(b.data) == 0 && b.err == nil {
		b.ready.Wait()
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	err := b.err
	if n > 0 {
		err = nil
	}
	b.mu.Unlock()
	if n > 0 {
		b.read(n)
	}
	return n, err
}

func (b *requestBody) Close() error { return nil }
