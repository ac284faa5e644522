package peer

import (
	"fmt"
	"net"
	"syscall"
)

// Peer is what the kernel said of the process at the other end of a
// connection when it was asked. It is a plain value: ask once, when the
// connection is accepted, and keep it.
type Peer struct {
	// UID is the peer's effective user ID, as this process's user namespace
	// numbers it. It means something only if Known.
	UID uint32
	// Known tells whether UID is the peer's. Nothing follows from a peer that
	// is not known, least of all that it is root or comes from elsewhere.
	Known bool
	// Why says why the peer is not known. Empty if Known.
	Why string
	// Unix tells that the connection is one of a Unix socket.
	Unix bool
	// Loopback tells that the connection is TCP and, by its addresses, comes
	// from this machine: one of them is a loopback address, or both are the
	// same address.
	Loopback bool
}

// maxWrappers bounds the connections around a socket.
const maxWrappers = 8

// Of returns what the kernel says of the peer of c, an accepted connection.
// Connections that have a NetConn method, as TLS ones have, are unwrapped. The
// addresses are the socket's own, whatever c's methods say of them.
//
// It takes some microseconds and waits at most a tenth of a second for the
// kernel. It does not fail: a peer that cannot be told is not known. Safe for
// concurrent use.
func Of(c net.Conn) Peer {
	for range maxWrappers {
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = wrapper.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return Peer{Why: fmt.Sprintf("a connection of type %T has no socket to ask the kernel about", c)}
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return Peer{Why: fmt.Sprintf("the connection's socket: %v", err)}
	}
	var p Peer
	if err := raw.Control(func(fd uintptr) { p = ofSocket(int(fd)) }); err != nil {
		return Peer{Why: fmt.Sprintf("the connection's socket: %v", err)}
	}
	return p
}
