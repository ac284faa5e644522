package h1

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

const (
	// maxChunkLine bounds a chunk's size line with its extensions, which are
	// ignored.
	maxChunkLine = 1 << 10
	// maxTrailer bounds the fields after a body, as net/http does.
	maxTrailer = 4 << 10
)

// chunkStage is what comes next on the wire of a chunked body, RFC 9112 §7.1.
type chunkStage uint8

const (
	chunkSize chunkStage = iota
	chunkData
	chunkEnd // the CRLF after the data
	chunkTrailer
)

// chunkReader decodes a chunked body.
type chunkReader struct {
	stage   chunkStage
	left    int64 // of the current chunk's data
	ended   error // what next found at the end: io.EOF or a failure
	trailer http.Header
}

// read fills p from as many chunks as have arrived, and waits only while it
// has nothing: a watch event is passed on as soon as it is here.
func (c *chunkReader) read(rd *reader, p []byte) (n int, err error) {
	for n < len(p) {
		if c.stage == chunkData {
			if n > 0 && rd.buffered() == 0 {
				return n, nil
			}
			m, err := rd.read(p[n:min(int64(len(p)), int64(n)+c.left)])
			n += m
			if c.left -= int64(m); c.left == 0 {
				c.stage = chunkEnd
			}
			if err != nil {
				return n, unexpectedEOF(err)
			}
			continue
		}
		if n > 0 && !rd.hasLine() {
			return n, nil
		}
		if err := c.next(rd); err != nil {
			return n, err
		}
	}
	return n, nil
}

// next reads the framing between two chunks' data; io.EOF is the end of the
// body. When that is not all there and rd does not wait, next can be repeated.
func (c *chunkReader) next(rd *reader) error {
	if c.ended != nil {
		return c.ended
	}
	err := c.advance(rd)
	if err != nil && err != errWouldBlock {
		c.ended = err
	}
	return err
}

func (c *chunkReader) advance(rd *reader) error {
	if c.stage == chunkTrailer {
		return c.readTrailer(rd)
	}
	line, err := rd.line(maxChunkLine)
	if err != nil {
		return unexpectedEOF(err)
	}
	if c.stage == chunkEnd {
		if len(line) != 0 {
			return malformed("end of chunk", string(line))
		}
		c.stage = chunkSize
		return nil
	}
	if c.left, err = parseChunkSize(line); err != nil {
		return err
	}
	c.stage = chunkData
	if c.left == 0 {
		c.stage = chunkTrailer
	}
	return nil
}

func (c *chunkReader) readTrailer(rd *reader) error {
	for rd.buffered() < 2 {
		if err := rd.fill(); err != nil {
			return unexpectedEOF(err)
		}
	}
	if bytes.HasPrefix(rd.buf[rd.r:rd.w], crlf) {
		rd.r += len(crlf)
		return io.EOF
	}
	fields, err := rd.head("", maxTrailer)
	if err != nil {
		return unexpectedEOF(err)
	}
	if bytes.Count(fields, crlf) != bytes.Count(fields, crlf[1:]) {
		return malformed("lone LF in the trailer", string(fields))
	}
	if c.trailer, err = parseFields(string(fields)); err != nil {
		return err
	}
	return io.EOF
}

var crlf = []byte("\r\n")

func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parseChunkSize parses a chunk's size line without its CRLF.
func parseChunkSize(line []byte) (int64, error) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 {
		return 0, malformed("chunk size", string(line))
	}
	var n int64
	for _, d := range digits {
		switch {
		case '0' <= d && d <= '9':
			d -= '0'
		case 'a' <= d && d <= 'f':
			d -= 'a' - 10
		case 'A' <= d && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, malformed("chunk size", string(line))
		}
		n = n<<4 | int64(d)
	}
	return n, nil
}

// hasLine reports whether a whole line is buffered.
func (b *reader) hasLine() bool {
	return bytes.IndexByte(b.buf[b.r:b.w], '\n') >= 0
}

// line returns one line without its CRLF, valid until the next call. A lone
// LF is an error: in chunk framing, unlike in a head, such tolerance has been
// a way to smuggle (RFC 9112 §7.1, golang/go#71988).
func (b *reader) line(limit int) ([]byte, error) {
	for {
		data := b.buf[b.r:b.w]
		if i := bytes.IndexByte(data, '\n'); i >= 0 && i <= limit {
			if i == 0 || data[i-1] != '\r' {
				return nil, malformed("chunk line without CR", string(data[:i]))
			}
			b.r += i + 1
			return data[:i-1], nil
		}
		if len(data) > limit {
			return nil, fmt.Errorf("%w: a chunk line is longer than %d bytes", ErrMalformed, limit)
		}
		if err := b.fill(); err != nil {
			return nil, err
		}
	}
}
