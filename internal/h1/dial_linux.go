package h1

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// setUserTimeout is a net.Dialer Control: it bounds how long sent bytes may
// stay unacknowledged (tcp(7), TCP_USER_TIMEOUT).
func setUserTimeout(network, address string, raw syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	ctlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
	if ctlErr != nil {
		err = ctlErr
	}
	if err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT for %s: %w", address, err)
	}
	return nil
}
