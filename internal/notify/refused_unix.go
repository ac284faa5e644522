//go:build unix

package notify

import (
	"errors"

	"golang.org/x/sys/unix"
)

// refused reports whether a socket is there and nobody listens.
func refused(err error) bool { return errors.Is(err, unix.ECONNREFUSED) }
