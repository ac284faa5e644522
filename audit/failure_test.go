package audit

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// disk is a file on a disk of limited size.
type disk struct {
	bytes.Buffer
	free  int
	calls int
	short bool // whether what does not fit is no error
}

func (d *disk) Write(b []byte) (int, error) {
	d.calls++
	n := min(len(b), d.free)
	d.Buffer.Write(b[:n])
	d.free -= n
	if n < len(b) && !d.short {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *disk) Close() error { return nil }

// openOn opens a log on d.
func openOn(t *testing.T, d io.WriteCloser, o Options) *Log {
	t.Helper()
	o.open = func(string) (*file, error) { return &file{w: d}, nil }
	l, err := Open(Config{File: "audit.jsonl"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Wherever in a line the disk fills up, the line is reported as lost, and no
// other one is lost with it.
func TestAFullDiskTearsOneLine(t *testing.T) {
	sample := &disk{free: 1 << 20}
	if err := write(openOn(t, sample, Options{}), "1"); err != nil {
		t.Fatal(err)
	}
	size := sample.Len()
	for _, short := range []bool{false, true} {
		for room := range size {
			d := &disk{free: size + room, short: short}
			l := openOn(t, d, Options{})
			if err := write(l, "1"); err != nil {
				t.Fatal(err)
			}
			want := error(syscall.ENOSPC)
			if short {
				want = io.ErrShortWrite
			}
			if err := write(l, "2"); !errors.Is(err, want) || !strings.Contains(err.Error(), "audit.jsonl") || !errors.Is(l.Healthy(), want) {
				t.Fatalf("with room for %d bytes, Write() = %v and Healthy() = %v, want %v", room, err, l.Healthy(), want)
			}
			d.free = 1 // For the newline that ends the torn line, and no more.
			if err := write(l, "3"); !errors.Is(err, want) {
				t.Fatalf("with room for 1 byte, Write() = %v, want %v", err, want)
			}
			d.free = 1 << 20
			for _, id := range []string{"4", "5"} {
				if err := write(l, id); err != nil || l.Healthy() != nil {
					t.Fatalf("Write() = %v and Healthy() = %v, want nil", err, l.Healthy())
				}
			}
			lines := strings.Split(strings.TrimSuffix(d.String(), "\n"), "\n")
			var ids []string
			for _, text := range lines {
				if strings.HasSuffix(text, "}") && strings.HasPrefix(text, "{") && len(text) == size-1 {
					ids = append(ids, string(decode(t, []byte(text+"\n")).AuditID))
				}
			}
			want1 := []string{"1", "4", "5"}
			if room == size-1 { // All of it but the newline: whole for a reader.
				want1 = []string{"1", "2", "4", "5"}
			}
			if diff := cmp.Diff(want1, ids); diff != "" {
				t.Fatalf("with room for %d bytes, audit IDs (-want +got)\n%s%s", room, diff, d.String())
			}
			if len(lines) > 5 {
				t.Fatalf("with room for %d bytes, there are %d lines:\n%s", room, len(lines), d.String())
			}
		}
	}
}

func TestALineIsOneWrite(t *testing.T) {
	d := &disk{free: 1 << 20}
	l := openOn(t, d, Options{})
	long := fullEvent()
	long.UserAgent, long.RequestURI = strings.Repeat("a", 1<<20), strings.Repeat("b", 1<<20)
	for range 3 {
		if err := l.Write(long); err != nil {
			t.Fatal(err)
		}
	}
	if d.calls != 3 {
		t.Errorf("%d writes, want 3", d.calls)
	}
}

// A failure that lasts, or that comes and goes, is not a flood in the log.
func TestFailuresAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.DebugLevel)
		var events, failures int
		d := &disk{}
		l := openOn(t, d, Options{
			Log:     zap.New(core),
			OnEvent: func(Stage) { events++ },
			OnError: func(error) { failures++ },
		})
		expect := func(what string, messages ...string) {
			t.Helper()
			var got []string
			for _, entry := range logged.TakeAll() {
				got = append(got, entry.Message)
			}
			if diff := cmp.Diff(messages, got); diff != "" {
				t.Errorf("%s: messages (-want +got)\n%s", what, diff)
			}
		}
		fill := func() { d.free = 0 }
		free := func() { d.free = 1 << 20 }
		writeSome := func() {
			for range 100 {
				_ = write(l, "1")
			}
		}
		const failing, works = "audit log cannot be written", "audit log can be written again"

		writeSome()
		expect("a failure", failing)
		time.Sleep(time.Hour)
		writeSome()
		expect("the same an hour later")
		free()
		writeSome()
		expect("it works", works)
		fill()
		time.Sleep(quiet)
		writeSome()
		expect("a second failure", failing)
		for range 100 {
			free()
			writeSome()
			fill()
			writeSome()
		}
		expect("it comes and goes", works)
		time.Sleep(quiet)
		writeSome()
		expect("it stays", failing)
		free()
		writeSome()
		expect("and ends", works)

		if events != 100*102 || failures != 100*104 {
			t.Errorf("OnEvent was called %d times and OnError %d times, want %d and %d", events, failures, 100*102, 100*104)
		}
	})
}

func TestARecoveryCountsWhatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.InfoLevel)
		d := &disk{}
		l := openOn(t, d, Options{Log: zap.New(core)})
		for _, lost := range []int{3, 2} {
			d.free = 0
			for range lost {
				if err := write(l, "1"); err == nil {
					t.Fatal("Write() = nil, want an error")
				}
			}
			time.Sleep(quiet)
			d.free = 1 << 20
			if err := write(l, "1"); err != nil {
				t.Fatal(err)
			}
			if n := logged.FilterField(zap.Int("lost", lost)).Len(); n != 1 {
				t.Errorf("%d entries say that %d events were lost, want 1: %v", n, lost, logged.All())
			}
		}
	})
}
