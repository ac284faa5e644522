package h1

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sendBuffer is how much of a streamed body is read at once.
	sendBuffer = 32 << 10
	// sendSlack surrounds the data with room for a chunk's size line, its
	// CRLF, and the last chunk.
	sendSlack = 16
	// settleTime is how long a complete response waits for a sender that
	// has only to return from its last write.
	settleTime = 50 * time.Millisecond
)

var errUnsentBody = errors.New("response complete before the request's body was sent")

var sendBuffers = sync.Pool{New: func() any { b := make([]byte, sendSlack+sendBuffer+sendSlack); return &b }}

// sender writes a request's body while the exchange awaits the response. It
// ends when the body does, when a write fails (the connection's end makes
// every write fail), or when the body's Read does.
type sender struct {
	x       *exchange
	timeout time.Duration // of each write; negative: none
	allRead atomic.Bool   // nothing is missing but the last write
	done    chan struct{}
	err     error // valid when done is closed
}

func startSender(x *exchange, r *Request, timeout time.Duration) *sender {
	s := &sender{x: x, timeout: timeout, done: make(chan struct{})}
	payload, body, length := r.Payload, r.Body, r.ContentLength
	go func() {
		defer close(s.done)
		defer x.closeBody()
		switch {
		case payload != nil:
			s.err = s.sendPayload(payload)
		case length < 0:
			s.err = s.sendChunks(body)
		default:
			s.err = s.sendLength(body, length)
		}
		if errors.Is(s.err, ErrRequestBody) {
			x.c.kill(s.err) // the message cannot be completed
		}
		// After a failed write too: the upstream may have answered before
		// it closed, so the reader goes on, with a limit.
		x.bodySent(timeout)
	}()
	return s
}

func (s *sender) write(p []byte) error {
	if s.timeout > 0 {
		_ = s.x.c.sock.SetWriteDeadline(time.Now().Add(s.timeout))
	}
	_, err := s.x.c.nc.Write(p)
	return err
}

func (s *sender) sendPayload(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), 2*sendBuffer)
		s.allRead.Store(n == len(p))
		if err := s.write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (s *sender) sendLength(body io.Reader, length int64) error {
	buf := sendBuffers.Get().(*[]byte)
	defer sendBuffers.Put(buf)
	for left := length; left > 0; {
		n, err := body.Read((*buf)[:min(left, sendBuffer)])
		left -= int64(n)
		s.allRead.Store(left == 0)
		if werr := s.write((*buf)[:n]); werr != nil {
			return werr
		}
		switch {
		case left == 0:
		case err == io.EOF:
			return fmt.Errorf("%w: it ended %d bytes before its Content-Length of %d", ErrRequestBody, left, length)
		case err != nil:
			return fmt.Errorf("%w: %w", ErrRequestBody, err)
		}
	}
	return nil
}

func (s *sender) sendChunks(body io.Reader) error {
	buf := sendBuffers.Get().(*[]byte)
	defer sendBuffers.Put(buf)
	for {
		n, err := body.Read((*buf)[sendSlack : sendSlack+sendBuffer])
		start, end := sendSlack, sendSlack+n
		if n > 0 {
			var size [sendSlack]byte
			line := append(strconv.AppendInt(size[:0], int64(n), 16), crlf...)
			start -= len(line)
			copy((*buf)[start:], line)
			end += copy((*buf)[end:], crlf)
		}
		if err == io.EOF {
			end += copy((*buf)[end:], "0\r\n\r\n")
			s.allRead.Store(true)
		}
		if end > start {
			if werr := s.write((*buf)[start:end]); werr != nil {
				return werr
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", ErrRequestBody, err)
		}
	}
}

// settle reports whether the whole body went out, so that the connection can
// be used again. Otherwise it sees to the sender's end, without waiting for it.
func (s *sender) settle(inOrder bool) bool {
	if inOrder && s.allRead.Load() {
		patience := time.NewTimer(settleTime)
		defer patience.Stop()
		select {
		case <-s.done:
		case <-patience.C:
		}
	}
	select {
	case <-s.done:
		return s.err == nil
	default:
	}
	s.x.c.kill(errUnsentBody)
	s.x.closeBody()
	return false
}
