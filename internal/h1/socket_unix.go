//go:build unix

package h1

import (
	"io"
	"syscall"
)

// tryState is the argument and the result of one non-blocking read: kept with
// the socket so that the check of an idle connection allocates nothing.
type tryState struct {
	p   []byte
	n   int
	err error
	fn  func(fd uintptr) bool
}

func (t *tryState) init() {
	t.fn = func(fd uintptr) bool {
		for {
			t.n, t.err = syscall.Read(int(fd), t.p)
			if t.err != syscall.EINTR {
				return true // never wait for the poller
			}
		}
	}
}

func (t *tryState) read(raw syscall.RawConn, p []byte) (int, error) {
	t.p = p
	err := raw.Read(t.fn)
	t.p = nil
	switch {
	case err != nil:
		return 0, err
	case t.err == syscall.EAGAIN:
		return 0, errWouldBlock
	case t.err != nil:
		return 0, t.err
	case t.n == 0:
		return 0, io.EOF
	}
	return t.n, nil
}
