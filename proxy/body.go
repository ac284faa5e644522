package proxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// errNotRewindable is what an attempt reads when the bytes that earlier
// attempts have read are no longer kept.
var errNotRewindable = errors.New("request body cannot be sent again: it is larger than what is kept for a retry")

// replayMemory is how many bytes of request bodies the process keeps for
// retries at most, over all requests.
const replayMemory = 256 << 20

var replayHeld atomic.Int64

// replayBody lets several attempts send one request body: what has been read
// from the client is kept, up to a limit, and read again from there. Each
// attempt reads through a reader of its own; one that is left behind by a
// lost attempt and still waits for the client does no harm, because every
// byte from the client goes into the buffer first.
type replayBody struct {
	client io.ReadCloser
	limit  int64

	turn sync.Mutex // held while the client is read, for as long as it takes; before mu

	mu   sync.Mutex // guards what follows, and is never held while something waits
	kept []byte
	gone bool // bytes were dropped: only the first reader may go on
	end  error
	read int64 // bytes the client has sent so far
}

func newReplayBody(client io.ReadCloser, limit int64) *replayBody {
	return &replayBody{client: client, limit: limit}
}

// rewindable reports whether a further attempt would see the whole body.
func (b *replayBody) rewindable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.gone && (b.end == nil || b.end == io.EOF)
}

// reader returns the body from its beginning, for one attempt.
func (b *replayBody) reader() io.ReadCloser { return &replayReader{body: b} }

// release gives the kept bytes back.
func (b *replayBody) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
	b.gone = true
}

func (b *replayBody) drop() {
	replayHeld.Add(-int64(cap(b.kept)))
	b.kept = nil
}

// keep appends p to the buffer, or drops the buffer when that is too much.
func (b *replayBody) keep(p []byte) {
	if b.gone {
		return
	}
	if int64(len(b.kept)+len(p)) > b.limit {
		b.drop()
		b.gone = true
		return
	}
	before := cap(b.kept)
	b.kept = append(b.kept, p...)
	if grown := int64(cap(b.kept) - before); grown > 0 && replayHeld.Add(grown) > replayMemory {
		b.drop()
		b.gone = true
	}
}

type replayReader struct {
	body *replayBody
	at   int64
}

func (r *replayReader) Read(p []byte) (int, error) {
	if n, err := r.again(p); n > 0 || err != nil {
		return n, err
	}
	b := r.body
	b.turn.Lock()
	defer b.turn.Unlock()
	if n, err := r.again(p); n > 0 || err != nil { // another reader has read it meanwhile
		return n, err
	}
	n, err := b.client.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keep(p[:n])
	b.read += int64(n)
	r.at += int64(n)
	b.end = err
	return n, err
}

// again reads what was read from the client before; 0 bytes and no error if the
// client has to be read.
func (r *replayReader) again(p []byte) (int, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.at == b.read:
		return 0, b.end
	case b.gone:
		return 0, errNotRewindable
	}
	n := copy(p, b.kept[r.at:])
	r.at += int64(n)
	return n, nil
}

// Close ends one attempt's reading; the client's body stays open for the next.
func (r *replayReader) Close() error { return nil }
