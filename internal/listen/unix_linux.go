package listen

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketMode sets the mode of a socket before it has a name. On Linux bind
// gives the socket's mode, less the umask, to the file that it makes, so the
// file is never more open than it should be, and the umask of the process,
// which other goroutines may rely on, stays as it is.
func socketMode(mode fs.FileMode) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), uint32(mode)) }); e != nil {
			return e
		}
		return err
	}
}
