package program

import (
	"bytes"
	"errors"
)

// Output is an [io.Writer] that keeps the first Limit bytes of what a program
// prints. Only one goroutine may use it at a time.
type Output struct {
	// Limit is how many bytes are kept.
	Limit int

	// Discard says what becomes of the rest: it is discarded, or else writing
	// it fails, which ends a program that never stops talking with SIGPIPE.
	Discard bool

	// The buffer is not embedded: io.Copy would find its ReadFrom, which has no
	// limit.
	kept bytes.Buffer
	over bool
}

var errTooMuch = errors.New("the program prints more than is kept")

// Write implements [io.Writer].
func (o *Output) Write(p []byte) (int, error) {
	room := o.Limit - o.kept.Len()
	if len(p) <= room {
		return o.kept.Write(p)
	}
	o.kept.Write(p[:room])
	o.over = true
	if o.Discard {
		return len(p), nil
	}
	return room, errTooMuch
}

// Bytes returns what was kept. It is valid until the next Write.
func (o *Output) Bytes() []byte { return o.kept.Bytes() }

// Exceeded reports whether there was more than Limit bytes.
func (o *Output) Exceeded() bool { return o.over }
