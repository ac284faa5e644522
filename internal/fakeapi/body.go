package fakeapi

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Pattern is an endless body that a test can check: Huge's.
func Pattern() io.Reader { return &patternReader{} }

type patternReader struct{ offset uint64 }

// block repeats with a prime period, so that a chunk in the wrong place shows.
var block = func() []byte {
	b := make([]byte, 65521)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223 // Numerical Recipes' LCG
		b[i] = byte(x >> 24)
	}
	return b
}()

func (r *patternReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], block[r.offset%uint64(len(block)):])
		n, r.offset = n+k, r.offset+uint64(k)
	}
	return n, nil
}

// Huge answers with n bytes of [Pattern], chunked, as a large LIST is.
func Huge(n int64) http.Handler {
	return answer(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = io.CopyBuffer(onlyWriter{w}, io.LimitReader(Pattern(), n), make([]byte, 64<<10))
	})
}

// onlyWriter hides ReadFrom, which would ignore the buffer.
type onlyWriter struct{ io.Writer }

// HashOfPattern is the hex SHA-256 of the first n bytes of [Pattern].
func HashOfPattern(n int64) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(Pattern(), n)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Chunks answers 200 and then writes and flushes what comes from the channel
// until it is closed. The headers are flushed at once.
func Chunks(chunks <-chan string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		w.WriteHeader(http.StatusOK)
		flush(w)
		for {
			select {
			case chunk, ok := <-chunks:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, chunk)
				flush(w)
			case <-r.Context().Done():
				return
			}
		}
	})
}

// Slow answers with a Content-Length and sends the body in pieces of the given
// size, one every d.
func Slow(body string, size int, d time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for rest := body; rest != ""; {
			piece := rest[:min(size, len(rest))]
			rest = rest[len(piece):]
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
			flush(w)
			if rest == "" {
				return
			}
			select {
			case <-ticker.C:
			case <-r.Context().Done():
				return
			}
		}
	})
}

// Informational sends a 1xx response with these headers ("Name", "value", …)
// before next answers.
func Informational(code int, next http.Handler, headers ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Del(headers[i])
		}
		next.ServeHTTP(w, r)
	})
}

// Trailers answers 200 with a body and these trailers ("Name", "value", …).
func Trailers(body string, trailers ...string) http.Handler {
	return answer(func(w http.ResponseWriter) {
		for i := 0; i+1 < len(trailers); i += 2 {
			w.Header().Add("Trailer", trailers[i])
		}
		_, _ = io.WriteString(w, body)
		flush(w) // chunked: trailers need it
		for i := 0; i+1 < len(trailers); i += 2 {
			w.Header().Set(trailers[i], trailers[i+1])
		}
	})
}
