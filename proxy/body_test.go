package proxy

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReplayBodyIsReadAgainFromItsBeginning(t *testing.T) {
	before := replayHeld.Load()
	b := newReplayBody(io.NopCloser(iotest.OneByteReader(strings.NewReader("0123456789"))), 64)
	first := b.reader()
	if _, err := io.ReadFull(first, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := io.ReadAll(b.reader())
		if err != nil || string(got) != "0123456789" {
			t.Fatalf("read again: %q, %v", got, err)
		}
	}
	if rest, err := io.ReadAll(first); err != nil || string(rest) != "456789" {
		t.Errorf("the first attempt reads on: %q, %v", rest, err)
	}
	if !b.rewindable() {
		t.Error("a short body must stay rewindable")
	}
	b.release()
	if held := replayHeld.Load(); held != before {
		t.Errorf("%d bytes still counted as held after release, want %d", held, before)
	}
}

func TestReplayBodyBeyondTheLimitStreamsOnce(t *testing.T) {
	before := replayHeld.Load()
	whole := bytes.Repeat([]byte("x"), 1000)
	b := newReplayBody(io.NopCloser(bytes.NewReader(whole)), 100)
	first := b.reader()
	if got, err := io.ReadAll(first); err != nil || !bytes.Equal(got, whole) {
		t.Fatalf("the first attempt must see all: %d bytes, %v", len(got), err)
	}
	if b.rewindable() {
		t.Error("a body beyond the limit must not be rewindable")
	}
	if _, err := b.reader().Read(make([]byte, 1)); err != errNotRewindable {
		t.Errorf("second attempt: %v, want %v", err, errNotRewindable)
	}
	if held := replayHeld.Load(); held != before {
		t.Errorf("%d bytes held for a body that is not kept, want %d", held, before)
	}
}

func TestReplayBodyThatTheClientBrokeOffIsNotSentAgain(t *testing.T) {
	b := newReplayBody(io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF))), 100)
	if _, err := io.ReadAll(b.reader()); err != io.ErrUnexpectedEOF {
		t.Fatalf("error %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if b.rewindable() {
		t.Error("a broken body must not be rewindable")
	}
}
