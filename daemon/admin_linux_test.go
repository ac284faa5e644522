package daemon_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// breakListener makes the kernel end the process's listening socket of a TCP
// port on an IPv4 address, as nothing in the program would.
func breakListener(t *testing.T, address net.Addr) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		bound, err := syscall.Getsockname(fd)
		if ip4, ok := bound.(*syscall.SockaddrInet4); err != nil || !ok || ip4.Port != address.(*net.TCPAddr).Port {
			continue
		}
		if listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err != nil || listens == 0 {
			continue
		}
		if err := syscall.Shutdown(fd, syscall.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no socket listens on %v", address)
}

// TestAFailedAdminServerEndsNothingElse: it is logged and shown, and requests go
// on.
func TestAFailedAdminServerEndsNothingElse(t *testing.T) {
	t.Parallel()
	r := start(t, servers(t, 1))
	r.all("GET "+pods, fakeapi.Text(200, "fine"))
	breakListener(t, r.Daemon.AdminAddr())
	awaitStatus(t, r.Daemon, "the failure", func(s admin.Status) bool {
		return strings.HasPrefix(s.AdminError, "admin server on "+r.Daemon.AdminAddr().String()+": ") &&
			s.Events[0].Text == "the admin server has failed: "+s.AdminError
	})
	if n := r.Logs.FilterMessage("the admin server has failed, requests go on").FilterLevelExact(zap.ErrorLevel).Len(); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if got := r.do("GET", pods, ""); got.Code != 200 {
		t.Errorf("answer %+v", got)
	}
	select {
	case err := <-r.Daemon.Failed():
		t.Errorf("the daemon has failed: %v", err)
	default:
	}
}
