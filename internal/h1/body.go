package h1

import (
	"errors"
	"io"
	"sync/atomic"
)

// Who holds a body. Read and Close may be called from two goroutines (a
// proxy's shutdown closes what a handler reads), so holding it is exclusive.
const (
	bodyFree int32 = iota
	bodyHeld
	bodyClosing // held by a Read, and closed meanwhile: the Read ends it
	bodyDone    // ended, failed or closed: the connection is no longer ours
)

// maxDrain is how much of an abandoned body is discarded, if it is already
// here, to keep the connection.
const maxDrain = 64 << 10

var (
	errBodyClosed     = errors.New("response body was closed")
	errConcurrentRead = errors.New("concurrent reads of one response body")
)

// body is a response's Body. At its end the connection goes back to the pool.
type body struct {
	x     *exchange
	how   framing
	left  int64 // byLength: of the body
	chunk chunkReader
	dry   bool // the last Read took all that was there
	state atomic.Int32
	err   error // what Read answers once done; written before state is
}

// Read waits until something is there, and then fills p with as much as is
// there. Its errors are io.EOF, possibly along with the last bytes, and *Error.
func (b *body) Read(p []byte) (int, error) {
	if !b.state.CompareAndSwap(bodyFree, bodyHeld) {
		if b.state.Load() == bodyDone {
			return 0, b.err
		}
		return 0, b.x.fail(PhaseBody, errConcurrentRead)
	}
	var n int
	var err error
	if len(p) > 0 {
		n, err = b.fill(p)
	}
	if err == nil {
		if b.state.CompareAndSwap(bodyHeld, bodyFree) {
			return n, nil
		}
		err = errBodyClosed
	}
	b.end(err)
	return n, b.err
}

// Close gives the connection back when the rest of the body is already here,
// and closes the connection otherwise. It never waits.
func (b *body) Close() error {
	if b.state.CompareAndSwap(bodyFree, bodyHeld) {
		err := b.drain()
		if err == nil || err == errWouldBlock {
			err = errBodyClosed
		}
		b.end(err)
	} else if b.state.CompareAndSwap(bodyHeld, bodyClosing) {
		b.x.c.kill(errBodyClosed)
	}
	return nil
}

// Ready reports whether Read would return without waiting. It is what tells a
// proxy to flush what it holds. The first call after a Read that took all that
// was there says no without looking again.
func (b *body) Ready() bool {
	if !b.state.CompareAndSwap(bodyFree, bodyHeld) {
		return b.state.Load() == bodyDone
	}
	ready := !b.dry && b.available()
	b.dry = false
	if !b.state.CompareAndSwap(bodyHeld, bodyFree) {
		b.end(errBodyClosed)
		return true
	}
	return ready
}

// available looks for bytes of the body without taking any.
func (b *body) available() bool {
	c := b.x.c
	c.startProbe()
	defer c.endProbe()
	for {
		var err error
		switch {
		case b.how == byChunks && b.chunk.stage != chunkData:
			err = b.chunk.next(&c.rd)
		case c.rd.buffered() > 0:
			return true
		default:
			err = c.rd.fill()
		}
		if err != nil {
			return err != errWouldBlock // an end or a failure is news too
		}
	}
}

// fill reads once, and on while there is more: several TLS records make one
// write of a proxy. At the body's end it returns io.EOF.
func (b *body) fill(p []byte) (n int, err error) {
	c := b.x.c
	if c.rd.buffered() == 0 {
		c.disarm() // a body may take its time
	}
	b.dry = false
	n, err = b.read(p)
	if err != nil || n == len(p) {
		return n, err
	}
	c.startProbe()
	defer c.endProbe()
	for n < len(p) && err == nil {
		var m int
		m, err = b.read(p[n:])
		n += m
	}
	if err == errWouldBlock {
		b.dry, err = true, nil
	}
	return n, err
}

// read reads some of the body.
func (b *body) read(p []byte) (int, error) {
	rd := &b.x.c.rd
	switch b.how {
	case byLength:
		n, err := rd.read(p[:min(int64(len(p)), b.left)])
		b.left -= int64(n)
		switch {
		case b.left == 0:
			err = io.EOF
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
		}
		return n, err
	case byChunks:
		n, err := b.chunk.read(rd, p)
		if err == io.EOF {
			if terr := mergeTrailer(&b.x.resp, b.chunk.trailer); terr != nil {
				err = terr
			}
		}
		return n, err
	}
	return rd.read(p)
}

// drain reads what has arrived. It returns io.EOF at the end of the body.
func (b *body) drain() error {
	b.x.c.startProbe()
	defer b.x.c.endProbe()
	scratch := make([]byte, readBufferSize)
	for drained := 0; drained < maxDrain; {
		n, err := b.read(scratch)
		if err != nil {
			return err
		}
		drained += n
	}
	return nil
}

// end is called once, by the holder. It sets what Read answers from then on.
func (b *body) end(err error) {
	if err != io.EOF {
		err = b.x.fail(PhaseBody, err)
	}
	b.x.finish(err == io.EOF)
	b.err = err
	b.state.Store(bodyDone)
}
