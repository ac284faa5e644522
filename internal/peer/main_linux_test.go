package peer_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary is the client of its own tests: started with clientEnv set to
// "UID NETWORK ADDRESS" it becomes that user, connects, and stays until its
// standard input ends.
const clientEnv = "KUBERELAY_TEST_PEER_CLIENT"

func TestMain(m *testing.M) {
	if order := os.Getenv(clientEnv); order != "" {
		if err := client(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func client(order string) error {
	var uid int
	var network, address string
	if _, err := fmt.Sscan(order, &uid, &network, &address); err != nil {
		return err
	}
	if uid != os.Geteuid() {
		if err := syscall.Setuid(uid); err != nil {
			return err
		}
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// others are users that this process can become: none unless it is root.
func others() []uint32 {
	if os.Geteuid() != 0 {
		return nil
	}
	return []uint32{1001, 4242}
}

// users are this process's own and others.
func users() []uint32 { return append([]uint32{uint32(os.Geteuid())}, others()...) }

// as runs do as another user: on a thread that has its uid alone, and ends.
func as(t testing.TB, uid uint32, do func() error) {
	t.Helper()
	if err := tryAs(uid, do); err != nil {
		t.Fatal(err)
	}
}

func tryAs(uid uint32, do func() error) error {
	if uid == uint32(os.Geteuid()) {
		return do()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine.
		// The raw call, unlike syscall's, is for this thread only.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- errno
			return
		}
		done <- do()
	}()
	return <-done
}

// listener opens a listener for the length of the test.
func listener(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if path, ok := l.Addr().(*net.UnixAddr); ok && path.Name[0] == '/' {
		if err := os.Chmod(path.Name, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// on returns the address of l at a host.
func on(host string, l net.Listener) string {
	return net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// accept takes one connection of l for the length of the test.
func accept(t testing.TB, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dialAs connects as another user for the length of the test.
func dialAs(t testing.TB, uid uint32, network, address string) net.Conn {
	t.Helper()
	var c net.Conn
	as(t, uid, func() (err error) {
		c, err = net.Dial(network, address)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}
