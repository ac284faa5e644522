package fakeapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	h2MaxStreams = 250     // as kube-apiserver's default order of magnitude
	h2Window     = 1 << 20 // what a client may send before a handler reads
)

// h2 is the server's side of one HTTP/2 connection (RFC 9113).
type h2 struct {
	srv    *Server
	conn   *conn
	secure *tls.Conn
	framer *http2.Framer // reads: serve's goroutine; writes: under wmu
	ctx    context.Context
	cancel context.CancelFunc

	wmu     sync.Mutex // one frame, or one header block, at a time
	encoder *hpack.Encoder
	encoded bytes.Buffer

	mu       sync.Mutex
	space    *sync.Cond         // on mu: a window grew, or something ended
	streams  map[uint32]*stream // guarded by mu; open ones
	window   int64              // guarded by mu; what may be sent on the connection
	initial  int64              // guarded by mu; SETTINGS_INITIAL_WINDOW_SIZE of the client
	maxFrame int                // guarded by mu; of the client
	last     uint32             // guarded by mu; highest stream of the client
	leaving  bool               // guarded by mu; GOAWAY was sent
	dead     bool               // guarded by mu
}

func newH2(s *Server, c *conn, secure *tls.Conn) *h2 {
	h := &h2{srv: s, conn: c, secure: secure, framer: http2.NewFramer(secure, secure),
		streams: map[uint32]*stream{}, window: 65535, initial: 65535, maxFrame: 16384}
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.framer.SetMaxReadFrameSize(1 << 20)
	h.encoder = hpack.NewEncoder(&h.encoded)
	h.space = sync.NewCond(&h.mu)
	h.ctx, h.cancel = context.WithCancel(s.ctx)
	return h
}

// serve reads frames until the connection ends.
func (h *h2) serve() {
	defer h.end()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(h.secure, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	err := h.write(func() error {
		return errors.Join(
			h.framer.WriteSettings(
				http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: h2MaxStreams},
				http2.Setting{ID: http2.SettingInitialWindowSize, Val: h2Window}),
			h.framer.WriteWindowUpdate(0, 16*h2Window))
	})
	for err == nil {
		var frame http2.Frame
		frame, err = h.framer.ReadFrame()
		var streamError http2.StreamError
		switch {
		case errors.As(err, &streamError):
			err = h.write(func() error { return h.framer.WriteRSTStream(streamError.StreamID, streamError.Code) })
		case err == nil:
			err = h.handle(frame)
		}
	}
}

// end ends all streams with the connection.
func (h *h2) end() {
	h.cancel()
	_ = h.conn.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
	for _, s := range h.streams {
		s.body.fail(io.ErrUnexpectedEOF)
	}
	h.space.Broadcast()
}

func (h *h2) write(f func() error) error {
	h.wmu.Lock()
	defer h.wmu.Unlock()
	return f()
}

func (h *h2) handle(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return h.headers(f)
	case *http2.DataFrame:
		return h.data(f)
	case *http2.SettingsFrame:
		return h.settings(f)
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return h.write(func() error { return h.framer.WritePing(true, f.Data) })
	case *http2.WindowUpdateFrame:
		h.mu.Lock()
		defer h.mu.Unlock()
		if f.StreamID == 0 {
			h.window += int64(f.Increment)
		} else if s := h.streams[f.StreamID]; s != nil {
			s.window += int64(f.Increment)
		}
		h.space.Broadcast()
	case *http2.RSTStreamFrame:
		h.mu.Lock()
		s := h.streams[f.StreamID]
		h.mu.Unlock()
		if s != nil {
			s.abandon()
		}
	}
	return nil // PRIORITY, the client's GOAWAY, and what is unknown
}

func (h *h2) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	h.mu.Lock()
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		for _, s := range h.streams {
			s.window += int64(v) - h.initial
		}
		h.initial = int64(v)
	}
	if v, ok := f.Value(http2.SettingMaxFrameSize); ok {
		h.maxFrame = int(v)
	}
	h.space.Broadcast()
	h.mu.Unlock()
	return h.write(func() error {
		if v, ok := f.Value(http2.SettingHeaderTableSize); ok {
			h.encoder.SetMaxDynamicTableSizeLimit(v)
		}
		return h.framer.WriteSettingsAck()
	})
}

// data takes in a piece of a request's body. The connection's window is given
// back at once, the stream's when the handler reads.
func (h *h2) data(f *http2.DataFrame) error {
	h.mu.Lock()
	s := h.streams[f.StreamID]
	h.mu.Unlock()
	if s != nil {
		s.body.put(f.Data())
		if f.StreamEnded() {
			s.body.fail(io.EOF)
		}
	}
	if f.Length == 0 {
		return nil
	}
	return h.write(func() error { return h.framer.WriteWindowUpdate(0, f.Length) })
}

// headers begins a stream, or ends it with the request's trailers.
func (h *h2) headers(f *http2.MetaHeadersFrame) error {
	h.mu.Lock()
	if s := h.streams[f.StreamID]; s != nil {
		h.mu.Unlock()
		s.body.fail(io.EOF)
		return nil
	}
	if f.StreamID <= h.last || h.leaving {
		h.mu.Unlock()
		return nil // after a GOAWAY: the client knows that nobody looks at it
	}
	h.last = f.StreamID
	s := newStream(h, f.StreamID, h.initial)
	s.head = f.PseudoValue("method") == http.MethodHead
	h.streams[f.StreamID] = s
	h.mu.Unlock()

	r, ok := s.request(f)
	if !ok {
		s.reset(http2.ErrCodeProtocol)
		return nil
	}
	if f.StreamEnded() {
		s.body.fail(io.EOF)
	}
	h.srv.wg.Go(func() {
		h.srv.answer(s, r, &exchange{srv: h.srv, conn: h.conn, stream: s})
		s.finish()
	})
	return nil
}

// request builds net/http's form of the request; ok is false for a target that
// cannot be parsed.
func (s *stream) request(f *http2.MetaHeadersFrame) (r *http.Request, ok bool) {
	target := f.PseudoValue("path")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, false
	}
	header := http.Header{}
	for _, field := range f.RegularFields() {
		header.Add(field.Name, field.Value)
	}
	if cookies := header["Cookie"]; len(cookies) > 1 { // RFC 9113 §8.2.3
		header.Set("Cookie", strings.Join(cookies, "; "))
	}
	r = &http.Request{
		Method: f.PseudoValue("method"), URL: u, RequestURI: target, Host: f.PseudoValue("authority"),
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: header, Body: s.body, ContentLength: -1,
		RemoteAddr: s.conn.conn.RemoteAddr().String(),
	}
	state := s.conn.secure.ConnectionState()
	r.TLS = &state
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil {
		r.ContentLength = n
	} else if f.StreamEnded() {
		r.ContentLength = 0
	}
	return r.WithContext(s.ctx), true
}

// goAway tells the client that no further stream is answered. With unprocessed
// above 0, that one and the ones after it are not answered either. The
// connection ends when the others are.
func (h *h2) goAway(unprocessed uint32) {
	h.mu.Lock()
	h.leaving = true
	last := h.last
	var dropped []*stream
	if unprocessed > 0 {
		last = max(unprocessed, 2) - 2
		for id, s := range h.streams {
			if id >= unprocessed {
				dropped = append(dropped, s)
			}
		}
	}
	h.mu.Unlock()
	_ = h.write(func() error { return h.framer.WriteGoAway(last, http2.ErrCodeNo, nil) }) // the client may be gone
	for _, s := range dropped {
		s.abandon()
	}
}

// forget takes a stream off the list, and after a GOAWAY ends the connection when
// it was the last one. Only our side is closed: with bytes unread a full close
// would be a reset, which can overtake the last answer.
func (h *h2) forget(s *stream) {
	h.mu.Lock()
	delete(h.streams, s.id)
	idle := h.leaving && len(h.streams) == 0
	h.space.Broadcast()
	h.mu.Unlock()
	if idle {
		_ = h.secure.CloseWrite() // fails when the client is gone
		_ = h.conn.CloseWrite()
	}
}
