package proxy

import (
	"io"
	"net/http"
)

// peekLimit is how much of an error's body is looked at.
const peekLimit = 4 << 10

// peekedBody is a body whose first bytes were read ahead.
type peekedBody struct {
	io.ReadCloser
	head []byte
	seen []byte
	err  error
}

func (p *peekedBody) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.ReadCloser.Read(b)
}

// peekBody returns the first bytes of a response's body, which is still read
// from its beginning afterwards.
func peekBody(resp *http.Response) []byte {
	if p, ok := resp.Body.(*peekedBody); ok {
		return p.seen
	}
	p := &peekedBody{ReadCloser: resp.Body}
	buf := make([]byte, peekLimit)
	n := 0
	for n < len(buf) && p.err == nil {
		var m int
		m, p.err = p.ReadCloser.Read(buf[n:])
		n += m
		if resp.ContentLength < 0 && m > 0 {
			break // a stream: do not wait for more than its first piece
		}
	}
	p.head, p.seen = buf[:n], buf[:n]
	resp.Body = p
	return p.seen
}

// discard gives an unwanted response's connection back.
func discard(resp *http.Response) {
	if resp != nil {
		resp.Body.Close()
	}
}
