//go:build !linux

package listen

import (
	"io/fs"
	"syscall"
)

// socketMode does nothing where a socket without a name has no mode. There the
// file has its mode a moment after bind, so a path that others can reach wants
// a directory that they cannot.
func socketMode(fs.FileMode) func(network, address string, c syscall.RawConn) error { return nil }
