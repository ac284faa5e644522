package fakeapi

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http2"
)

// RST reads the whole request and then resets the TCP connection instead of
// answering: the client cannot know whether the request was carried out. Over
// HTTP/2 that ends every stream of the connection.
func RST() http.Handler {
	return fault(func(ex *exchange, _ http.ResponseWriter, r *http.Request) {
		drain(r)
		ex.conn.reset()
	})
}

// RSTEarly resets the connection after the head, with the body unread.
func RSTEarly() http.Handler {
	return fault(func(ex *exchange, _ http.ResponseWriter, _ *http.Request) { ex.conn.reset() })
}

// Hangup reads the whole request and closes the connection (FIN) instead of
// answering.
func Hangup() http.Handler {
	return fault(func(ex *exchange, _ http.ResponseWriter, r *http.Request) {
		drain(r)
		_ = ex.conn.Close()
	})
}

// HangupReused closes the connection unanswered when it was used before, and
// otherwise passes the request to next: what a client sees whose kept-alive
// connection the server closes in the same moment. See also
// Server.CloseIdleOnNextByte.
func HangupReused(next http.Handler) http.Handler {
	return fault(func(ex *exchange, w http.ResponseWriter, r *http.Request) {
		if ex.reused {
			_ = ex.conn.Close()
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RSTMidBody announces total bytes, sends the first sent of them, and resets the
// connection. With a total below 0 the body is chunked, without a length.
func RSTMidBody(total, sent int64) http.Handler {
	return fault(func(ex *exchange, w http.ResponseWriter, r *http.Request) {
		drain(r)
		if total >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(total, 10))
		}
		if _, err := io.Copy(w, io.LimitReader(Pattern(), sent)); err == nil {
			flush(w)
		}
		ex.conn.reset()
	})
}

// ResetStreamMidBody sends the first sent bytes of a body and then ends only the
// stream, with RST_STREAM(INTERNAL_ERROR). HTTP/2 only.
func ResetStreamMidBody(sent int64) http.Handler {
	return overHTTP2(func(ex *exchange, w http.ResponseWriter, r *http.Request) {
		drain(r)
		if _, err := io.Copy(w, io.LimitReader(Pattern(), sent)); err == nil {
			flush(w)
		}
		ex.stream.reset(http2.ErrCodeInternal)
	})
}

// RefusedStream answers with RST_STREAM(REFUSED_STREAM): the server did not look
// at the request (RFC 9113 §8.7). HTTP/2 only.
func RefusedStream() http.Handler {
	return overHTTP2(func(ex *exchange, _ http.ResponseWriter, _ *http.Request) {
		ex.stream.reset(http2.ErrCodeRefusedStream)
	})
}

// GoAwayUnprocessed sends a GOAWAY whose last stream is the one before this
// request: it was not processed and may be repeated (RFC 9113 §6.8). Streams
// before it finish, then the connection ends. HTTP/2 only.
func GoAwayUnprocessed() http.Handler {
	return overHTTP2(func(ex *exchange, _ http.ResponseWriter, _ *http.Request) {
		ex.stream.conn.goAway(ex.stream.id)
	})
}

// GoAwayThenAnswer sends a GOAWAY that still counts this request and passes it to
// next; the connection ends after it. That is --goaway-chance. HTTP/2 only.
func GoAwayThenAnswer(next http.Handler) http.Handler {
	return overHTTP2(func(ex *exchange, w http.ResponseWriter, r *http.Request) {
		ex.stream.conn.goAway(0)
		next.ServeHTTP(w, r)
	})
}

// GoAwayThenHangup sends a GOAWAY that counts this request as taken and closes
// the connection without an answer: it may have been carried out. HTTP/2 only.
func GoAwayThenHangup() http.Handler {
	return overHTTP2(func(ex *exchange, _ http.ResponseWriter, r *http.Request) {
		drain(r)
		ex.stream.conn.goAway(0)
		_ = ex.conn.Close()
	})
}

// Never reads the request and answers nothing until the client goes away.
func Never() http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		drain(r)
		<-r.Context().Done()
	})
}

// Until waits for the channel (or for the client to go away) and then passes the
// request to next.
func Until(release <-chan struct{}, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hold(r)
		select {
		case <-release:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// Delay passes the request to next after d.
func Delay(d time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hold(r)
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

// hold takes the body in, for the handler to read later: as long as it is
// unread, net/http does not notice that an HTTP/1.1 client went away.
func hold(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
}

// overHTTP2 is for what HTTP/1.1 does not have.
func overHTTP2(f func(ex *exchange, w http.ResponseWriter, r *http.Request)) http.Handler {
	return fault(func(ex *exchange, w http.ResponseWriter, r *http.Request) {
		if ex.stream == nil {
			http.Error(w, "fakeapi: this fault needs HTTP/2", http.StatusHTTPVersionNotSupported)
			return
		}
		f(ex, w, r)
	})
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() } // the client may be gone
