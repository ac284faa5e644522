package listen_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kuberelay/kuberelay/internal/listen"
)

func TestAbstractSocket(t *testing.T) {
	name := fmt.Sprintf("@kuberelay-test-%d", os.Getpid())
	for _, address := range []string{"unix:" + name, "unix://" + name, listen.Unix(name)} {
		l := open(t, address, listen.Options{})
		if got := l.Addr().String(); got != name {
			t.Errorf("listens on %q, want %q", got, name)
		}
		connect(t, l)
		if _, err := listen.Listen(t.Context(), address, listen.Options{}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second Listen(%q): %v, want address already in use", address, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeepAlive(t *testing.T) {
	for period, want := range map[time.Duration]int{0: 15, 7 * time.Second: 7, -1: 0} {
		_, server := connect(t, open(t, "127.0.0.1:0", listen.Options{KeepAlive: period}))
		if got := keepAlive(t, server); got != want {
			t.Errorf("KeepAlive %v: a probe every %d s, want %d", period, got, want)
		}
	}
}

// keepAlive returns a connection's probe interval in seconds, 0 for no probes.
func keepAlive(t *testing.T, c net.Conn) int {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var on, idle, interval int
	var errs [3]error
	if err := raw.Control(func(fd uintptr) {
		on, errs[0] = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		idle, errs[1] = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		interval, errs[2] = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if on == 0 {
		return 0
	}
	if idle != interval {
		t.Errorf("first probe after %d s, others after %d", idle, interval)
	}
	return interval
}

// The peer of a multipath connection could not be told.
func TestClientsOfMultipathTCPFallBack(t *testing.T) {
	l := open(t, "127.0.0.1:0", listen.Options{MaxConnections: -1})
	d := new(net.Dialer)
	d.SetMultipathTCP(true)
	client, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if multipath, err := server.(*net.TCPConn).MultipathTCP(); multipath || err != nil {
		t.Errorf("the connection is multipath TCP: %v, %v", multipath, err)
	}
	if _, err := io.WriteString(client, "x"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// Its process may be busy, or stopped.
func TestSocketWithAFullQueueIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = listen.Listen(t.Context(), listen.Unix(path), listen.Options{SocketMode: 0o666})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "it cannot be told whether a process has it open") {
		t.Errorf("Listen: %v, want address already in use", err)
	}
	if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was changed: %v", err)
	}
}

// A directory that a stranger keeps locked delays a start; it must not hang it.
func TestLockOnTheDirectoryIsNotWaitedForForever(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = listen.Listen(ctx, listen.Unix(filepath.Join(dir, "s")), listen.Options{})
	want := fmt.Sprintf("listen unix %s/s: another process holds the lock on directory %s (see fuser %s)", dir, dir, dir)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
