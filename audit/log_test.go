package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEventsAreAppended(t *testing.T) {
	var stages []Stage
	l, path := open(t, Options{OnEvent: func(s Stage) { stages = append(stages, s) }, OnError: func(err error) { t.Error(err) }})
	for _, id := range []string{"1", "2"} {
		if err := write(l, id); err != nil {
			t.Fatal(err)
		}
	}
	again, err := Open(Config{File: path}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(again, "3"), write(l, "4"), again.Close()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4"}, auditIDs(t, path)); diff != "" {
		t.Errorf("audit IDs (-want +got)\n%s", diff)
	}
	if want := slices.Repeat([]Stage{StageRequestReceived}, 3); !slices.Equal(stages, want) {
		t.Errorf("OnEvent got %v, want %v", stages, want)
	}
	if !l.Blocks() {
		t.Error("Blocks() = false, want true by default")
	}
}

func TestALogThatIsOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for name, cfg := range map[string]Config{
		"no file":    DefaultConfig(),
		"level None": {File: path, Level: LevelNone},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(cfg, Options{OnEvent: func(Stage) { t.Error("an event was counted") }})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(write(l, "1"), l.Reopen(), l.Healthy(), l.Close()); err != nil {
				t.Error(err)
			}
			if l.Blocks() {
				t.Error("Blocks() = true, want false")
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a file: %v", err)
			}
		})
	}
}

func TestOnFailureIgnoreDoesNotBlock(t *testing.T) {
	l, err := Open(Config{File: filepath.Join(t.TempDir(), "a"), OnFailure: OnFailureIgnore}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if l.Blocks() {
		t.Error("Blocks() = true, want false")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Writers do not notice a rotation, and none of their events is lost or
// written twice.
func TestRotationUnderLoad(t *testing.T) {
	const writers, each, rotations = 8, 400, 10
	var written sync.WaitGroup
	// Its bound keeps the writers from being done before the last rotation.
	progress := make(chan struct{}, 64)
	l, path := open(t, Options{
		OnEvent: func(Stage) { progress <- struct{}{} },
		OnError: func(error) { progress <- struct{}{} },
	})
	for w := range writers {
		written.Go(func() {
			for i := range each {
				if err := write(l, fmt.Sprintf("%d-%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	paths := []string{path}
	const between = writers * each / (rotations + 1)
	for r := range rotations {
		for range between {
			<-progress
		}
		rotated := fmt.Sprintf("%s.%d", path, r)
		if err := os.Rename(path, rotated); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, rotated)
	}
	for range writers*each - rotations*between {
		<-progress
	}
	written.Wait()
	ids := auditIDs(t, paths...)
	slices.Sort(ids)
	if unique := len(slices.Compact(slices.Clone(ids))); len(ids) != writers*each || unique != len(ids) {
		t.Errorf("%d lines with %d audit IDs, want %d", len(ids), unique, writers*each)
	}
	if content(t, path) == "" {
		t.Error("nothing was written after the last rotation")
	}
}

func TestAFileThatCannotBeOpenedAnewStaysInUse(t *testing.T) {
	l, path := open(t, Options{})
	rotated := path + ".1"
	if err := os.Rename(path, rotated); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	err := l.Reopen()
	if err == nil || !strings.Contains(err.Error(), "stays in use") || !strings.Contains(err.Error(), path) {
		t.Errorf("Reopen() = %v, want one that says that the old file stays in use", err)
	}
	if err := errors.Join(write(l, "1"), l.Healthy()); err != nil {
		t.Errorf("after that: %v", err)
	}
	if diff := cmp.Diff([]string{"1"}, auditIDs(t, rotated)); diff != "" {
		t.Errorf("audit IDs (-want +got)\n%s", diff)
	}
}

func TestAClosedLog(t *testing.T) {
	l, path := open(t, Options{})
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Errorf("Close() = %v", err)
	}
	for name, err := range map[string]error{"Write": write(l, "1"), "Reopen": l.Reopen(), "Healthy": l.Healthy()} {
		if !errors.Is(err, errClosed) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s() = %v, want one that says that %s is closed", name, err, path)
		}
	}
}

// closing is a file whose Close fails, as over NFS.
type closing struct{ bytes.Buffer }

func (*closing) Close() error { return syscall.EIO }

func TestErrorsOfClosingAreReported(t *testing.T) {
	l, err := Open(Config{File: "audit.jsonl"}, Options{open: func(string) (*file, error) { return &file{w: &closing{}}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "new file is in use") {
		t.Errorf("Reopen() = %v, want that of closing the old file", err)
	}
	if err := l.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Close() = %v, want %v", err, syscall.EIO)
	}
}
