package proxy

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
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

// TestReplayBodyAnswersWhileTheClientIsReadFrom has a client that stops after
// half of its body: the readers wait for the rest, and nobody else does.
func TestReplayBodyAnswersWhileTheClientIsReadFrom(t *testing.T) {
	in, client := io.Pipe()
	asked := make(chan struct{}, 10)
	b := newReplayBody(io.NopCloser(readerFunc(func(p []byte) (int, error) {
		asked <- struct{}{}
		return in.Read(p)
	})), 100)
	read := make(chan string)
	for range 2 { // a lost attempt's reader, and the next attempt's
		go func() {
			got, err := io.ReadAll(b.reader())
			if err != nil {
				t.Errorf("read: %v", err)
			}
			read <- string(got)
		}()
	}
	<-asked
	if _, err := io.WriteString(client, "half, "); err != nil {
		t.Fatal(err)
	}
	<-asked // the client is waited for
	within(t, func() {
		if !b.rewindable() {
			t.Error("not rewindable while it comes")
		}
	})
	if _, err := io.WriteString(client, "half"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for range 2 {
		if got := <-read; got != "half, half" {
			t.Errorf("read %q", got)
		}
	}
}

// TestReplayBodyIsReleasedWhileTheClientIsReadFrom does not wait for a client
// that sends nothing.
func TestReplayBodyIsReleasedWhileTheClientIsReadFrom(t *testing.T) {
	in, client := io.Pipe()
	asked := make(chan struct{}, 10)
	b := newReplayBody(io.NopCloser(readerFunc(func(p []byte) (int, error) {
		asked <- struct{}{}
		return in.Read(p)
	})), 100)
	var reader sync.WaitGroup
	reader.Go(func() { _, _ = b.reader().Read(make([]byte, 1)) })
	<-asked
	within(t, b.release)
	client.Close()
	reader.Wait()
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// within fails the test when f waits for something.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it waits")
	}
}
