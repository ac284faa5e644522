package h1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// inlineBody is the largest body in memory that is written together with the
// head, by the caller's goroutine: it fits one TLS record and any send buffer.
const inlineBody = 16 << 10

// Request is one request in the form in which it is written. The zero value
// of every field but Method, Target and Host is meaningful. It is only read,
// and may be used again (for another attempt) unless it has a Body.
type Request struct {
	Method string
	// Target is the request-target: path and query exactly as they go
	// upstream, "/api/v1/pods?limit=5".
	Target string
	// Host is the Host header's value.
	Host string
	// Header goes upstream except the fields that frame the message:
	// Host, Content-Length, Transfer-Encoding, Trailer, and, unless it is
	// an upgrade, Connection, Keep-Alive, Proxy-Connection and Upgrade.
	// Nothing is added, no User-Agent and no Accept-Encoding. Names or
	// values with characters that could end a field are refused.
	Header http.Header

	// Payload is a body in memory; it can be sent any number of times.
	Payload []byte
	// Body is a body to stream, when Payload is nil. A goroutine reads it
	// while the response is awaited, since the upstream may answer early.
	// When the response is over before the Body is, the connection is
	// closed; the goroutine ends when its Read returns, which the caller
	// has to bring about (net/http closes the server-side body as the
	// handler returns). Do never closes it.
	Body io.Reader
	// ContentLength is Body's length; -1 when unknown (sent chunked).
	ContentLength int64

	// HeaderTimeout overrides Options.HeaderTimeout; negative: none.
	HeaderTimeout time.Duration
	// Fresh asks for a new connection: after an IdleRace, for instance.
	Fresh bool
	// Close closes the connection after the response, and says so upstream.
	Close bool
	// Interim, when set, gets each 1xx response (102, 103, …) except 100
	// and 101, before the final one and on the caller's goroutine.
	Interim func(code int, header http.Header)
}

// FromHTTP converts req, as far as Do needs it. The request-target is
// URL.Opaque when that begins with a slash and else URL.RequestURI.
func FromHTTP(req *http.Request) *Request {
	r := &Request{
		Method:        req.Method,
		Host:          req.Host,
		Header:        req.Header,
		Close:         req.Close,
		ContentLength: req.ContentLength,
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if u := req.URL; u != nil {
		if r.Host == "" {
			r.Host = u.Host
		}
		r.Target = u.RequestURI()
		if strings.HasPrefix(u.Opaque, "/") && !strings.HasPrefix(u.Opaque, "//") {
			r.Target = u.Opaque
			if u.RawQuery != "" || u.ForceQuery {
				r.Target += "?" + u.RawQuery
			}
		}
	}
	if req.Body != nil && req.Body != http.NoBody {
		r.Body = req.Body
		if r.ContentLength == 0 {
			r.ContentLength = -1
		}
	}
	return r
}

// streams reports whether the body is left to a sender goroutine.
func (r *Request) streams() bool {
	return len(r.Payload) > inlineBody || r.Payload == nil && r.Body != nil && r.ContentLength != 0
}

// appendTo appends the head, and a small payload, in wire format.
func (r *Request) appendTo(b []byte, upgrade bool) ([]byte, error) {
	if !isToken(r.Method) {
		return nil, fmt.Errorf("invalid method %q", r.Method)
	}
	if !isTarget(r.Target) {
		return nil, fmt.Errorf("invalid request-target %q: it has to begin with / and cannot hold spaces or control characters", r.Target)
	}
	if r.Host == "" || !isVisible(r.Host) {
		return nil, fmt.Errorf("invalid Host %q", r.Host)
	}
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	for name, values := range r.Header {
		if isFraming(name, upgrade) {
			continue
		}
		if !isToken(name) {
			return nil, fmt.Errorf("invalid header name %q", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				// The value may be a credential: it is not shown.
				return nil, fmt.Errorf("invalid value of header %s: it holds control characters", name)
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	if r.Close && !upgrade {
		b = append(b, "Connection: close\r\n"...)
	}
	b, err := r.appendFraming(b)
	if err != nil {
		return nil, err
	}
	b = append(b, "\r\n"...)
	if len(r.Payload) <= inlineBody {
		b = append(b, r.Payload...)
	}
	return b, nil
}

// appendFraming appends the fields that say where the body ends.
func (r *Request) appendFraming(b []byte) ([]byte, error) {
	length := int64(len(r.Payload))
	if r.Payload == nil && r.Body != nil {
		length = r.ContentLength
	}
	switch {
	case length > 0, length == 0 && expectsBody(r.Method):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
	case length == -1:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case length < 0:
		return nil, errors.New("invalid ContentLength: below -1")
	}
	return b, nil
}

// expectsBody reports whether a request without a body says so, RFC 9110 §8.6.
func expectsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// isFraming reports whether the field is this package's own business.
func isFraming(name string, upgrade bool) bool {
	switch len(name) {
	case 4, 7, 10, 14, 16, 17: // the lengths of the names below
	default:
		return false
	}
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	case "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade":
		return !upgrade
	}
	return false
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// isTarget reports whether s can stand in a request line: an origin-form
// target, or "*" for OPTIONS. Bytes above 0x7f pass, as the client sent them.
func isTarget(s string) bool {
	return s != "" && (s[0] == '/' || s == "*") && isVisible(s)
}

func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

var tokenByte = func() (t [256]bool) {
	for c := range t {
		t[c] = httpguts.IsTokenRune(rune(c)) && c < 0x80
	}
	return t
}()

// headBuffers recycles the buffers in which heads are assembled.
var headBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func putHeadBuffer(b *[]byte) {
	if cap(*b) <= 64<<10 {
		headBuffers.Put(b)
	}
}
