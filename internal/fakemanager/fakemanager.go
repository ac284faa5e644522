// Package fakemanager stands in for systemd in tests of what a process tells its
// service manager (sd_notify(3)).
package fakemanager

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// deadline is how long a message is waited for.
const deadline = 10 * time.Second

// Listen makes the test a service manager until it ends. socket is what goes
// into NOTIFY_SOCKET; next waits for a message and returns it whole, and fails
// the test if none comes.
func Listen(t testing.TB) (socket string, next func() string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return socket, func() string {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(deadline)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 4096)
		n, err := c.Read(buffer)
		if err != nil {
			t.Fatalf("no message: %v", err)
		}
		return string(buffer[:n])
	}
}
