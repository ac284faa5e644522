package auth

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// A file that cannot be read is not one with wrong content.
func TestAKubeconfigThatCannotBeReadIsNotCalledInvalid(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, nil, 0); err != nil {
		t.Fatal(err)
	}
	load := func(path string) error {
		_, err := (&KubeconfigRef{Path: path}).Load()
		return err
	}
	denied := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Error(err)
		}
		denied <- load(file)
	}()
	for _, tc := range []struct {
		path string
		got  error
		want string
	}{
		{file, <-denied, fmt.Sprintf("permission denied: user ID %d must be able to read it", os.Geteuid())},
		{dir, load(dir), "is a directory"},
		{file + "/config", load(file + "/config"), "not a directory"},
	} {
		if want := "kubeconfig " + tc.path + ": " + tc.want; tc.got == nil || tc.got.Error() != want {
			t.Errorf("Load() = %v, want %s", tc.got, want)
		}
	}
}
