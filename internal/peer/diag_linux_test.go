package peer

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	ours   = netip.MustParseAddrPort("127.0.0.1:8001")
	theirs = netip.MustParseAddrPort("127.0.0.1:40000")
)

const cookie = 0x1_0000_0007

// answer is what the kernel says of s to the question with the sequence number.
func answer(s socket, sequence uint32) []byte {
	native := binary.NativeEndian
	b := make([]byte, headerLen+diagAnswerLen)
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint32(b[8:], sequence)
	m := b[headerLen:]
	m[0], m[1] = unix.AF_INET6, s.state
	if s.local.Addr().Is4() {
		m[0] = unix.AF_INET
	}
	binary.BigEndian.PutUint16(m[4:], s.local.Port())
	binary.BigEndian.PutUint16(m[6:], s.remote.Port())
	copy(m[8:24], s.local.Addr().AsSlice())
	copy(m[24:40], s.remote.Addr().AsSlice())
	native.PutUint32(m[44:], uint32(s.cookie))
	native.PutUint32(m[48:], uint32(s.cookie>>32))
	native.PutUint32(m[64:], s.uid)
	native.PutUint32(m[68:], s.inode)
	return b
}

// errorAnswer is the kernel's answer of an errno.
func errorAnswer(errno unix.Errno, sequence uint32) []byte {
	native := binary.NativeEndian
	b := make([]byte, headerLen+20)
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], unix.NLMSG_ERROR)
	native.PutUint32(b[8:], sequence)
	native.PutUint32(b[headerLen:], uint32(-int32(errno)))
	return b
}

// fake answers the first question with client, the second with own.
func fake(client, own func(sequence uint32) []byte) *diag {
	return &diag{ask: func(request, to []byte) (int, error) {
		sequence := binary.NativeEndian.Uint32(request[8:])
		if sequence == 1 {
			return copy(to, client(sequence)), nil
		}
		return copy(to, own(sequence)), nil
	}}
}

func says(s socket) func(uint32) []byte {
	return func(sequence uint32) []byte { return answer(s, sequence) }
}

func TestOwner(t *testing.T) {
	client := socket{state: unix.BPF_TCP_ESTABLISHED, local: theirs, remote: ours, cookie: 9, uid: 1001, inode: 77}
	own := socket{state: unix.BPF_TCP_ESTABLISHED, local: ours, remote: theirs, cookie: cookie}
	with := func(s socket, change func(*socket)) socket { change(&s); return s }
	raw := func(change func(b []byte) []byte) func(uint32) []byte {
		return func(sequence uint32) []byte { return change(answer(client, sequence)) }
	}
	errno := func(e unix.Errno) func(uint32) []byte {
		return func(sequence uint32) []byte { return errorAnswer(e, sequence) }
	}
	mapped := func(a netip.AddrPort) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	for name, tt := range map[string]struct {
		client, own func(uint32) []byte
		uid         uint32
		err         string // none if empty
	}{
		"an open client's uid is the peer's": {says(client), says(own), 1001, ""},
		"root is known as root":              {says(with(client, func(s *socket) { s.uid = 0 })), says(own), 0, ""},
		"a client that has ended its half is known while it is sending": {
			says(with(client, func(s *socket) { s.state = unix.BPF_TCP_FIN_WAIT1 })), says(own), 1001, "",
		},
		"a client that has ended its half is known": {
			says(with(client, func(s *socket) { s.state = unix.BPF_TCP_FIN_WAIT2 })),
			says(with(own, func(s *socket) { s.state = unix.BPF_TCP_CLOSE_WAIT })), 1001, "",
		},
		"a client with mapped addresses is found by its IPv4 ones": {
			says(with(client, func(s *socket) { s.local, s.remote = mapped(theirs), mapped(ours) })), says(own), 1001, "",
		},

		"a socket without an inode is a closed one": {
			says(with(client, func(s *socket) { s.inode = 0 })), says(own), 0, "closed",
		},
		"a closed socket is not root's": {
			says(with(client, func(s *socket) { s.inode, s.uid = 0, 0 })), says(own), 0, "closed",
		},
		"a user that the namespace does not map is not known": {
			says(with(client, func(s *socket) { s.uid = overflowUID })), says(own), 0, "uid 65534",
		},
		"no user at all is not known": {
			says(with(client, func(s *socket) { s.uid = ^uint32(0) })), says(own), 0, "uid 4294967295",
		},
		"a listener on the client's port is not the client": {
			says(with(client, func(s *socket) { s.state = unix.BPF_TCP_LISTEN })), says(own), 0, "TCP state 10",
		},
		"a client that is connecting is another one": {
			says(with(client, func(s *socket) { s.state = unix.BPF_TCP_SYN_SENT })), says(own), 0, "TCP state 2",
		},
		"a socket of the past is not the client": {
			says(with(client, func(s *socket) { s.state = unix.BPF_TCP_TIME_WAIT })), says(own), 0, "TCP state 6",
		},
		"a socket with another local address is not the client": {
			says(with(client, func(s *socket) { s.local = netip.MustParseAddrPort("127.0.0.2:40000") })), says(own), 0, "127.0.0.2:40000",
		},
		"a socket with another local port is not the client": {
			says(with(client, func(s *socket) { s.local = netip.MustParseAddrPort("127.0.0.1:40001") })), says(own), 0, "127.0.0.1:40001",
		},
		"a socket with another remote port is not the client": {
			says(with(client, func(s *socket) { s.remote = netip.MustParseAddrPort("127.0.0.1:8002") })), says(own), 0, "127.0.0.1:8002",
		},
		"a connection in our place means that ours is gone": {
			says(client), says(with(own, func(s *socket) { s.cookie = 0x2_0000_0007 })), 0, "another socket in our end's place",
		},
		"an end of ours that has ended has no peer": {
			says(client), says(with(own, func(s *socket) { s.state = unix.BPF_TCP_TIME_WAIT })), 0, "our own socket is in TCP state 6",
		},
		"no such client":      {errno(unix.ENOENT), says(own), 0, "the client's socket: no such one"},
		"no such end of ours": {says(client), errno(unix.ENOENT), 0, "our own socket: no such one"},
		"the kernel refuses":  {errno(unix.EPERM), says(own), 0, "the client's socket: sock_diag: operation not permitted"},

		"an acknowledgement is no socket": {errno(0), says(own), 0, "neither a socket nor an error"},
		"nothing":                         {raw(func([]byte) []byte { return nil }), says(own), 0, "too short"},
		"a header alone": {raw(func(b []byte) []byte {
			binary.NativeEndian.PutUint32(b, headerLen)
			return b[:headerLen]
		}), says(own), 0, "too short"},
		"a description that is cut off": {raw(func(b []byte) []byte {
			binary.NativeEndian.PutUint32(b, uint32(len(b)-1))
			return b[:len(b)-1]
		}), says(own), 0, "too short"},
		"a length beyond the end": {raw(func(b []byte) []byte {
			binary.NativeEndian.PutUint32(b, ^uint32(0))
			return b
		}), says(own), 0, "says that it has 4294967295"},
		"two answers": {raw(func(b []byte) []byte { return append(b, b...) }), says(own), 0, "more than one answer"},
		"the first of several answers": {raw(func(b []byte) []byte {
			binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_MULTI)
			return b
		}), says(own), 0, "more than one answer"},
		"the answer to another question": {raw(func(b []byte) []byte {
			binary.NativeEndian.PutUint32(b[8:], 999)
			return b
		}), says(own), 0, "the answer to another question"},
		"an answer of another type": {raw(func(b []byte) []byte {
			binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
			return b
		}), says(own), 0, "an answer of type 3"},
		"a socket of another family": {raw(func(b []byte) []byte {
			b[headerLen] = unix.AF_UNIX
			return b
		}), says(own), 0, "address family 1"},
	} {
		t.Run(name, func(t *testing.T) {
			uid, err := fake(tt.client, tt.own).owner(ours, theirs, cookie)
			switch {
			case tt.err == "" && (err != nil || uid != tt.uid):
				t.Errorf("got uid %d, %v; want uid %d", uid, err, tt.uid)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("got uid %d, %v; want an error with %q", uid, err, tt.err)
			}
		})
	}
}

// The kernel itself, about a connection of this process.
func TestOwnerIsThatOfTheVerySocketThatWasAccepted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var cookie uint64
	if e := raw.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE)
	}); err != nil || e != nil {
		t.Fatal(err, e)
	}
	ours, theirs := server.LocalAddr().(*net.TCPAddr).AddrPort(), server.RemoteAddr().(*net.TCPAddr).AddrPort()
	if uid, err := kernel.owner(ours, theirs, cookie); err != nil || uid != uint32(os.Geteuid()) {
		t.Errorf("got uid %d, %v; want uid %d", uid, err, os.Geteuid())
	}
	// Another's connection between the same addresses, as that of a former user
	// of the port finds it.
	if uid, err := kernel.owner(ours, theirs, cookie-1); err == nil {
		t.Errorf("got uid %d for another socket", uid)
	}
}

func TestLoopback(t *testing.T) {
	for name, tt := range map[string]struct {
		ours, theirs string
		want         bool
	}{
		"the usual case":                      {"127.0.0.1", "127.0.0.1", true},
		"two IPv4 loopback addresses":         {"127.0.0.1", "127.9.9.9", true},
		"IPv6":                                {"::1", "::1", true},
		"an address of this machine":          {"192.0.2.1", "192.0.2.1", true},
		"an IPv6 address of this machine":     {"2001:db8::1", "2001:db8::1", true},
		"from this machine's to its loopback": {"127.0.0.1", "192.0.2.1", true},
		"from loopback to this machine's":     {"192.0.2.1", "127.0.0.1", true},
		"another machine":                     {"192.0.2.1", "192.0.2.2", false},
		"another machine over IPv6":           {"2001:db8::1", "2001:db8::2", false},
		"all addresses":                       {"192.0.2.1", "0.0.0.0", false},
	} {
		if got := loopback(netip.MustParseAddr(tt.ours), netip.MustParseAddr(tt.theirs)); got != tt.want {
			t.Errorf("%s: loopback(%s, %s) = %v, want %v", name, tt.ours, tt.theirs, got, tt.want)
		}
	}
}

func TestKernelThatCannotBeAsked(t *testing.T) {
	down := errors.New("down")
	d := &diag{ask: func([]byte, []byte) (int, error) { return 0, down }}
	if uid, err := d.owner(ours, theirs, cookie); !errors.Is(err, down) {
		t.Errorf("got uid %d, %v; want %v", uid, err, down)
	}
}

// A socket that failed once is not asked again: its answer may still come.
func TestNetlinkRecovers(t *testing.T) {
	n := new(netlink)
	defer func() { unix.Close(n.fd) }()
	var request [requestLen]byte
	putRequest(&request, 5, theirs, ours)
	buf := make([]byte, 4096)
	ask := func(to []byte) error {
		length, err := n.ask(request[:], to)
		if err == nil {
			_, err = parseAnswer(to[:length], 5)
		}
		return err
	}
	for name, tt := range map[string]struct {
		before func()
		answer []byte
		want   string
	}{
		"an answer that has no room":   {func() {}, buf[:8], "more than 8 bytes"},
		"a socket that is not netlink": {func() { breakSocket(t, n) }, buf, "the kernel"},
	} {
		tt.before()
		if err := ask(tt.answer); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
		if n.open {
			t.Errorf("%s: the socket is still in use", name)
		}
		if err := ask(buf); !errors.Is(err, unix.ENOENT) {
			t.Errorf("after %s: %v, want the kernel's ENOENT", name, err)
		}
	}
}

// breakSocket puts a socket that answers nothing into the place of n's.
func breakSocket(t *testing.T, n *netlink) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[1]) })
	if n.open {
		unix.Close(n.fd)
	}
	n.fd, n.open = pair[0], true
}

func TestStaleAnswersAreDropped(t *testing.T) {
	n := new(netlink)
	if err := n.connect(); err != nil {
		t.Fatal(err)
	}
	defer func() { unix.Close(n.fd) }()
	var stale, fresh [requestLen]byte
	putRequest(&stale, 1, theirs, ours)
	putRequest(&fresh, 2, theirs, ours)
	if _, err := unix.Write(n.fd, stale[:]); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	length, err := n.ask(fresh[:], buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseAnswer(buf[:length], 2); !errors.Is(err, unix.ENOENT) {
		t.Errorf("got %v, want the answer to the second question, ENOENT", err)
	}
}

// Whatever bytes answer, they name an owner only if they describe an open
// socket between the addresses that were asked for, and our own opposite.
func FuzzAnswer(f *testing.F) {
	client := socket{state: unix.BPF_TCP_ESTABLISHED, local: theirs, remote: ours, cookie: 9, uid: 1001, inode: 77}
	own := socket{state: unix.BPF_TCP_ESTABLISHED, local: ours, remote: theirs, cookie: cookie}
	f.Add(answer(client, 1), answer(own, 2))
	f.Add(errorAnswer(unix.ENOENT, 1), errorAnswer(unix.ESTALE, 2))
	f.Add(append(answer(client, 1), answer(client, 1)...), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := fake(func(uint32) []byte { return first }, func(uint32) []byte { return second })
		uid, err := d.owner(ours, theirs, cookie)
		if err != nil {
			return
		}
		c, err := parseAnswer(first, 1)
		if err != nil || c.inode == 0 || c.uid != uid || c.local != theirs || c.remote != ours {
			t.Errorf("uid %d from %+v, %v", uid, c, err)
		}
		if o, err := parseAnswer(second, 2); err != nil || o.cookie != cookie || o.local != ours || o.remote != theirs {
			t.Errorf("uid %d, though our end is %+v, %v", uid, o, err)
		}
	})
}
