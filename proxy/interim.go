package proxy

import (
	"net/http"
	"net/textproto"
	"sync"
)

// interim passes a 1xx response on, to clients that understand it.
func (x *exchange) interim(code int, header http.Header) {
	if !x.r.ProtoAtLeast(1, 1) {
		return
	}
	h := x.w.Header()
	copyHeader(h, header)
	x.w.WriteHeader(code)
	clear(h)
}

// hints passes on the 1xx responses to an HTTP/2 request. They come on the
// goroutine that reads the connection, which may still be delivering one when
// the attempt, and with it the exchange, has ended.
type hints struct {
	mu    sync.Mutex
	x     *exchange
	ended bool // guarded by mu
}

// pass is httptrace.ClientTrace.Got1xxResponse.
func (h *hints) pass(code int, header textproto.MIMEHeader) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.x.interim(code, http.Header(header))
	}
	return nil
}

func (h *hints) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}
