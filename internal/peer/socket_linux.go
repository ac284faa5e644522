package peer

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ofSocket returns the peer of the connected socket fd.
func ofSocket(fd int) Peer {
	sockname, err := unix.Getsockname(fd)
	if err != nil {
		return Peer{Why: fmt.Sprintf("the address of our end: %v", err)}
	}
	if _, ok := sockname.(*unix.SockaddrUnix); ok {
		return ofUnix(fd)
	}
	return ofTCP(fd, sockname, &kernel)
}

func ofUnix(fd int) Peer {
	p := Peer{Unix: true}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	switch {
	case err != nil:
		p.Why = fmt.Sprintf("SO_PEERCRED: %v", err)
	case unmapped(cred.Uid):
		p.Why = whyUnmapped(cred.Uid)
	default:
		p.UID, p.Known = cred.Uid, true
	}
	return p
}

func ofTCP(fd int, sockname unix.Sockaddr, d *diag) Peer {
	peername, err := unix.Getpeername(fd)
	if err != nil {
		return Peer{Why: fmt.Sprintf("the address of the client's end: %v (it has closed the connection)", err)}
	}
	ours, ok1 := addrPort(sockname)
	theirs, ok2 := addrPort(peername)
	if !ok1 || !ok2 {
		return Peer{Why: "the connection is neither of a Unix socket nor of TCP"}
	}
	p := Peer{Loopback: loopback(ours.Addr(), theirs.Addr())}
	if !p.Loopback {
		p.Why = "the connection may come from another machine: it is not between this machine's loopback addresses"
		return p
	}
	switch protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); {
	case err != nil:
		p.Why = fmt.Sprintf("SO_PROTOCOL: %v", err)
		return p
	case protocol == unix.IPPROTO_MPTCP:
		p.Why = "the connection is multipath TCP, which outlives the socket that it began with"
		return p
	case protocol != unix.IPPROTO_TCP:
		p.Why = fmt.Sprintf("the connection is of IP protocol %d, not TCP", protocol)
		return p
	}
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		p.Why = fmt.Sprintf("SO_COOKIE: %v", err)
		return p
	}
	uid, err := d.owner(ours, theirs, cookie)
	if err != nil {
		p.Why = err.Error()
		return p
	}
	p.UID, p.Known = uid, true
	return p
}

// loopback reports whether nothing from another machine can arrive between two
// addresses: the kernel drops what comes from outside with a loopback address,
// or with the receiver's own. Two addresses of this machine that differ are not
// enough. One that another machine has taken over, as a virtual IP, can still
// have connections here that ended there, and a stranger there their ports.
func loopback(ours, theirs netip.Addr) bool {
	return ours.IsLoopback() || theirs.IsLoopback() || ours == theirs
}

// addrPort returns an IP socket's address; that of an IPv4 client of a
// dual-stack listener as IPv4, which its own socket has.
func addrPort(a unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// The uid by which the kernel reports users that this process's user namespace
// does not map: overflowUID unless an administrator has chosen another. It can
// be a real user's too (nobody's), who is then not known.
const overflowUID = 65534

var configuredOverflowUID = sync.OnceValue(func() uint32 {
	b, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return overflowUID
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
	if err != nil {
		return overflowUID
	}
	return uint32(n)
})

func unmapped(uid uint32) bool {
	return uid == overflowUID || uid == ^uint32(0) || uid == configuredOverflowUID()
}

func whyUnmapped(uid uint32) string {
	return fmt.Sprintf("uid %d stands for every user that this process's user namespace does not map, "+
		"and cannot be told from nobody", uid)
}
