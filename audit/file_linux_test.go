package audit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Opening a FIFO for writing waits for a reader; opening a device may do
// anything.
func TestOpenRefusesWhatIsNoRegularFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "audit.jsonl")
	check(t, syscall.Mkfifo(fifo, 0o600))
	for _, path := range []string{fifo, "/dev/null"} {
		_, err := Open(Config{File: path}, Options{})
		if err == nil || !strings.Contains(err.Error(), path+": is not a regular file") {
			t.Errorf("Open(%s) = %v, want that it is not a regular file", path, err)
		}
	}
}

// The kernel's own full disk.
func TestAFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := openOn(t, full, Options{})
	if err := write(l, "1"); !errors.Is(err, syscall.ENOSPC) || !errors.Is(l.Healthy(), syscall.ENOSPC) {
		t.Errorf("Write() = %v and Healthy() = %v, want %v", err, l.Healthy(), syscall.ENOSPC)
	}
	check(t, l.Close())
}
