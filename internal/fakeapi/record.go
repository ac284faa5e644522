package fakeapi

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxRecorded  = 20000            // requests kept; older ones are forgotten
	awaitTimeout = 10 * time.Second // of Await and its like
)

// Request is what the server saw of one request.
type Request struct {
	Seq       int    // 1 for the server's first
	Conn      int64  // which connection, counted from 1
	Reused    bool   // not the first request on that connection
	Proto     string // HTTP/1.1 or HTTP/2.0
	Method    string
	Target    string // the request-target as it was sent
	Host      string
	Header    http.Header
	User      string      // common name of the client's certificate
	Framing   string      // of the body: "length N" or "chunked"; over HTTP/2 "stream"
	Trailer   http.Header // after the body; nil: none
	BodyBytes int64
	BodyHash  string // hex SHA-256 of the body as far as it was read
	BodyRead  bool   // to its end
	Done      bool   // the handler returned

	digest hash.Hash // of the body; guarded by requestLog.mu
}

// HashOf is the Request.BodyHash of a body.
func HashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// requestLog keeps the requests.
type requestLog struct {
	mu      sync.Mutex
	seq     int
	list    []*Request
	changed chan struct{} // closed at each change
}

func (l *requestLog) update(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

// add records a request and hooks into its body. The returned function notes
// that it was answered.
func (l *requestLog) add(r *http.Request, ex *exchange) (done func()) {
	entry := &Request{
		Conn: ex.conn.id, Reused: ex.reused, Proto: r.Proto, Method: r.Method, Target: r.RequestURI,
		Host: r.Host, Header: r.Header.Clone(), Framing: framingOf(r), digest: sha256.New(),
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		entry.User = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	l.update(func() {
		l.seq++
		entry.Seq = l.seq
		if len(l.list) >= maxRecorded {
			l.list = slices.Delete(l.list, 0, maxRecorded/2)
		}
		l.list = append(l.list, entry)
	})
	r.Body = &recordedBody{ReadCloser: r.Body, log: l, entry: entry, request: r}
	return func() { l.update(func() { entry.Done = true }) }
}

// framingOf is how the server was told where the body ends.
func framingOf(r *http.Request) string {
	switch {
	case r.ProtoMajor == 2:
		return "stream"
	case len(r.TransferEncoding) > 0:
		return strings.Join(r.TransferEncoding, ", ")
	}
	return "length " + strconv.FormatInt(r.ContentLength, 10)
}

type recordedBody struct {
	io.ReadCloser
	log     *requestLog
	entry   *Request
	request *http.Request
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	b.entry.digest.Write(p[:n]) // never fails
	b.entry.BodyBytes += int64(n)
	if err == io.EOF {
		b.entry.BodyRead = true
		b.entry.Trailer = b.request.Trailer.Clone()
	}
	return n, err
}

// Requests returns what was received so far, oldest first. With a pattern, as in
// [Server.Handle], only what matches it.
func (s *Server) Requests(pattern ...string) []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.matching(pattern)
}

// Take returns what was received since the last Take, and forgets it.
func (s *Server) Take() []Request {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	taken := s.log.matching(nil)
	s.log.list = nil
	return taken
}

func (l *requestLog) matching(patterns []string) []Request {
	var out []Request
	for _, entry := range l.list {
		if slices.ContainsFunc(patterns, func(p string) bool { return !parsePattern(p).match(entry.Method, entry.Target) }) {
			continue
		}
		request := *entry
		request.BodyHash, request.digest = hex.EncodeToString(entry.digest.Sum(nil)), nil
		out = append(out, request)
	}
	return out
}

// Await waits until n requests that match the pattern have arrived and returns
// them. The test fails when they do not within 10 s.
func (s *Server) Await(pattern string, n int) []Request {
	s.t.Helper()
	return s.awaitRequests(pattern, n, func(Request) bool { return true })
}

// AwaitDone waits until n requests that match the pattern were answered, or
// their handlers saw the client go away.
func (s *Server) AwaitDone(pattern string, n int) []Request {
	s.t.Helper()
	return s.awaitRequests(pattern, n, func(r Request) bool { return r.Done })
}

func (s *Server) awaitRequests(pattern string, n int, enough func(Request) bool) []Request {
	s.t.Helper()
	deadline := time.NewTimer(awaitTimeout)
	defer deadline.Stop()
	for {
		s.log.mu.Lock()
		all, changed := s.log.matching([]string{pattern}), s.log.changed
		s.log.mu.Unlock()
		got := slices.DeleteFunc(all, func(r Request) bool { return !enough(r) })
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-deadline.C:
			s.t.Fatalf("fakeapi: %d requests for %q within %v, want %d", len(got), pattern, awaitTimeout, n)
		}
	}
}
