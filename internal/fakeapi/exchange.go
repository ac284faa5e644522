package fakeapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
)

// exchange is one request with what is below it. Handlers of this package find
// it in the request's context.
type exchange struct {
	srv    *Server
	conn   *conn
	stream *stream // nil over HTTP/1.1
	reused bool    // not the first request on its connection
}

type (
	connKey     struct{}
	exchangeKey struct{}
)

func withConn(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

func (s *Server) serveHTTP1(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		http.Error(w, "fakeapi: request without a connection", http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	stopped := s.stopped
	if !stopped {
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if stopped {
		return
	}
	defer s.wg.Done()
	s.answer(w, r, &exchange{srv: s, conn: c})
}

// answer records a request and has it answered.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, ex *exchange) {
	ex.reused = ex.conn.requests.Add(1) > 1
	ex.conn.active.Add(1)
	defer ex.conn.active.Add(-1)
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, ex))
	done := s.log.add(r, ex)
	defer done()
	s.pick(r).ServeHTTP(w, r)
}

// fault makes a handler of a function that needs the exchange.
func fault(f func(ex *exchange, w http.ResponseWriter, r *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex, ok := r.Context().Value(exchangeKey{}).(*exchange)
		if !ok {
			http.Error(w, "fakeapi: this handler works in a fakeapi.Server only", http.StatusInternalServerError)
			return
		}
		f(ex, w, r)
	})
}
