package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The wire format: struct nlmsghdr of linux/netlink.h, and after it struct
// inet_diag_req_v2 or struct inet_diag_msg of linux/inet_diag.h. Ports and
// addresses are in network order, all else in the machine's.
const (
	headerLen     = unix.SizeofNlMsghdr
	requestLen    = headerLen + 56
	diagAnswerLen = 72
)

// socket is a TCP socket, as the kernel describes it.
type socket struct {
	state         uint8 // a TCP state of linux/tcp_states.h
	local, remote netip.AddrPort
	cookie        uint64 // what SO_COOKIE says; unique since boot
	uid           uint32
	inode         uint32 // 0 if no process has it open
}

// putRequest writes the question for the one socket between two addresses.
func putRequest(b *[requestLen]byte, sequence uint32, local, remote netip.AddrPort) {
	clear(b[:])
	native := binary.NativeEndian
	native.PutUint32(b[0:], requestLen)
	native.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST) // NLM_F_DUMP would list every socket.
	native.PutUint32(b[8:], sequence)

	request := b[headerLen:]
	request[0] = unix.AF_INET6
	if local.Addr().Is4() {
		request[0] = unix.AF_INET
	}
	request[1] = unix.IPPROTO_TCP
	native.PutUint32(request[4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(request[8:], local.Port())
	binary.BigEndian.PutUint16(request[10:], remote.Port())
	copy(request[12:28], local.Addr().AsSlice())
	copy(request[28:44], remote.Addr().AsSlice())
	native.PutUint64(request[48:], ^uint64(0)) // INET_DIAG_NOCOOKIE: any cookie
}

// parseAnswer reads the datagram that answers the request with the sequence
// number: exactly one message, which describes a socket. An errno of the
// kernel is returned as a [unix.Errno].
func parseAnswer(b []byte, sequence uint32) (socket, error) {
	native := binary.NativeEndian
	if len(b) < headerLen {
		return socket{}, fmt.Errorf("an answer of %d bytes is too short", len(b))
	}
	length := uint64(native.Uint32(b[0:]))
	kind, flags := native.Uint16(b[4:]), native.Uint16(b[6:])
	switch {
	case length < headerLen || length > uint64(len(b)):
		return socket{}, fmt.Errorf("an answer of %d bytes says that it has %d", len(b), length)
	case (length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1) < uint64(len(b)), flags&unix.NLM_F_MULTI != 0:
		return socket{}, errors.New("more than one answer")
	case native.Uint32(b[8:]) != sequence:
		return socket{}, errors.New("the answer to another question")
	}
	b = b[headerLen:length]
	switch {
	case kind == unix.NLMSG_ERROR && len(b) >= 4:
		if errno := -int64(int32(native.Uint32(b))); errno > 0 {
			return socket{}, unix.Errno(errno)
		}
		return socket{}, errors.New("neither a socket nor an error")
	case kind != unix.SOCK_DIAG_BY_FAMILY:
		return socket{}, fmt.Errorf("an answer of type %d", kind)
	case len(b) < diagAnswerLen:
		return socket{}, fmt.Errorf("a socket's description of %d bytes is too short", len(b))
	}
	s := socket{
		state:  b[1],
		cookie: uint64(native.Uint32(b[44:])) | uint64(native.Uint32(b[48:]))<<32,
		uid:    native.Uint32(b[64:]),
		inode:  native.Uint32(b[68:]),
	}
	var local, remote netip.Addr
	switch b[0] {
	case unix.AF_INET:
		local, remote = netip.AddrFrom4([4]byte(b[8:])), netip.AddrFrom4([4]byte(b[24:]))
	case unix.AF_INET6: // May be a v4-mapped pair: found as IPv4, it says what it was created as.
		local, remote = netip.AddrFrom16([16]byte(b[8:])).Unmap(), netip.AddrFrom16([16]byte(b[24:])).Unmap()
	default:
		return socket{}, fmt.Errorf("a socket of address family %d", b[0])
	}
	s.local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[4:]))
	s.remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[6:]))
	return s, nil
}
