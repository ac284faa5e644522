//go:build unix

package listen

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// checkInherited returns why f is not a listening stream socket. The reasons
// continue "socket NAME".
func checkInherited(f *os.File) error {
	// Not f.Fd, which would make the socket blocking for all who have it.
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot be used: %w", err)
	}
	var kind, listens int
	var kindErr, listensErr error
	if err := raw.Control(func(fd uintptr) {
		kind, kindErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
		listens, listensErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	}); err != nil {
		return fmt.Errorf("cannot be used: %w", err)
	}
	switch {
	case errors.Is(kindErr, unix.ENOTSOCK):
		return errors.New("is not a socket: its unit must have ListenStream= only")
	case kindErr != nil:
		return fmt.Errorf("cannot be used: %w", kindErr)
	case kind == unix.SOCK_DGRAM:
		return errors.New("is a datagram socket: its unit must have ListenStream= instead of ListenDatagram=")
	case kind == unix.SOCK_SEQPACKET:
		return errors.New("is a packet socket: its unit must have ListenStream= instead of ListenSequentialPacket=")
	case kind != unix.SOCK_STREAM:
		return fmt.Errorf("is of type %d: its unit must have ListenStream= only", kind)
	case listensErr != nil:
		return fmt.Errorf("cannot be used: %w", listensErr)
	case listens == 0:
		return errors.New("is one connection, not a listening socket: its unit must have Accept=no")
	}
	return nil
}
