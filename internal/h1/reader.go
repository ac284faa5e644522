package h1

import (
	"bytes"
	"fmt"
	"io"
)

// readBufferSize holds the head and body of a common small response at once.
// Reads of at least this size that find it empty go past it.
const readBufferSize = 4 << 10

// reader buffers a connection's incoming bytes. Unlike bufio.Reader it hands
// out a whole message head as one slice and grows for it.
type reader struct {
	src  io.Reader
	buf  []byte
	r, w int   // buf[r:w] is unread
	err  error // the source's end; some sources tell it only once
}

func (b *reader) buffered() int { return b.w - b.r }

// fill reads once from the source, growing the buffer when it is full.
func (b *reader) fill() error {
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
	switch {
	case b.buf == nil:
		b.buf = make([]byte, readBufferSize)
	case b.w == len(b.buf) && b.r > 0:
		b.w = copy(b.buf, b.buf[b.r:b.w])
		b.r = 0
	case b.w == len(b.buf):
		b.buf = append(b.buf, make([]byte, len(b.buf))...)
	}
	n, err := b.receive(b.buf[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	return err
}

// receive reads from the source, something or an error.
func (b *reader) receive(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.src.Read(p)
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if err != nil && err != errWouldBlock {
		b.err = err
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

// read is an io.Reader's Read.
func (b *reader) read(p []byte) (int, error) {
	if b.r == b.w {
		if len(p) >= readBufferSize {
			return b.receive(p)
		}
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.buf[b.r:b.w])
	b.r += n
	return n, nil
}

// head returns the bytes up to and including the first empty line, at most
// limit of them. The slice is valid until the next call. prefix is what the
// message must begin with: a peer that speaks something else is found out at
// its first bytes, not by a timeout.
func (b *reader) head(prefix string, limit int) ([]byte, error) {
	scanned := 0 // bytes of buf[r:w] known not to end the head
	for {
		data := b.buf[b.r:b.w]
		if n := min(len(data), len(prefix)); string(data[:n]) != prefix[:n] {
			return nil, fmt.Errorf("%w: it begins with %q", ErrMalformed, data[:min(len(data), 16)])
		}
		if end := endOfHead(data, scanned); end >= 0 {
			if end > limit {
				return nil, errHeadTooLarge(limit)
			}
			b.r += end
			return data[:end], nil
		}
		if len(data) > limit {
			return nil, errHeadTooLarge(limit)
		}
		scanned = max(0, len(data)-3)
		if err := b.fill(); err != nil {
			if err == io.EOF && len(data) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func errHeadTooLarge(limit int) error {
	return fmt.Errorf("%w: its header is larger than %d bytes", ErrMalformed, limit)
}

// endOfHead returns the index after the empty line that ends a head, or -1.
// A lone LF ends a line too (RFC 9112 §2.2), as in net/http.
func endOfHead(data []byte, from int) int {
	for {
		i := bytes.IndexByte(data[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		rest := data[from:]
		if len(rest) > 0 && rest[0] == '\n' {
			return from + 1
		}
		if len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n' {
			return from + 2
		}
	}
}

// shrink gives back what a large head made the buffer grow to.
func (b *reader) shrink() {
	if len(b.buf) > 4*readBufferSize && b.r == b.w {
		b.buf, b.r, b.w = nil, 0, 0
	}
}
