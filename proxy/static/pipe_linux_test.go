package static_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/kuberelay/kuberelay/proxy/static"
)

// Opening a pipe waits until somebody writes to it: the test would hang.
func TestPipeDoesNotHoldTheRequest(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := static.New(dir, "/static/")
	if err != nil {
		t.Fatal(err)
	}
	if got := serve(h, "GET", "/static/pipe"); got.StatusCode != 404 {
		t.Errorf("a pipe: %s, want 404", got.Status)
	}
}
