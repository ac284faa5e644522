package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A blackhole needs neither privilege nor network namespace. The lab duplicates
// the server's sockets (pidfd_getfd(2), which asks for the right to trace the
// process, as a parent has) and sets a TCP MD5 signature key on them (RFC 2385,
// tcp(7)). From then on the kernel drops the clients' segments, because they
// are not signed, and the clients' kernel drops the server's, because they are:
// silently, in both directions, on open connections as on the listener.

// md5Sig is struct tcp_md5sig of linux/tcp.h.
type md5Sig struct {
	addr      unix.RawSockaddrInet4
	_         [128 - unsafe.Sizeof(unix.RawSockaddrInet4{})]byte // sockaddr_storage
	flags     uint8
	prefixLen uint8
	keyLen    uint16
	ifIndex   int32
	key       [unix.TCP_MD5SIG_MAXKEYLEN]byte
}

// setMD5 sets a key for all IPv4 peers of the socket, or removes it.
func setMD5(fd int, on bool) error {
	sig := md5Sig{addr: unix.RawSockaddrInet4{Family: unix.AF_INET}, flags: unix.TCP_MD5SIG_FLAG_PREFIX}
	if on {
		sig.keyLen = uint16(copy(sig.key[:], "kuberelay-lab"))
	}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT,
		uintptr(unsafe.Pointer(&sig)), unsafe.Sizeof(sig), 0)
	if errno == unix.ENOENT && !on {
		return nil // There was no key.
	}
	if errno != 0 {
		return os.NewSyscallError("setsockopt TCP_MD5SIG_EXT", errno)
	}
	return nil
}

// canCutOff says why cutOff would not work on child processes such as pid.
func canCutOff(pid int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	if err := setMD5(fd, true); err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer closeFD(pidfd)
	dup, err := unix.PidfdGetfd(pidfd, 1, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	closeFD(dup)
	return nil
}

// cutOff makes the packets vanish that go to and from the port of process pid.
// The connections that the process has with itself stay.
func cutOff(ctx context.Context, pid, port int) error {
	for {
		// The listener refuses to be found by then, so that this ends: what is
		// still to come are connections which the kernel has and the process has
		// not accepted.
		if err := setOnSockets(pid, port, true); err != nil {
			return err
		}
		waiting, err := unaccepted(pid, port)
		if err != nil || !waiting {
			return err
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("wait until process %d has accepted its connections: %w", pid, err)
		}
	}
}

// reconnect ends cutOff.
func reconnect(pid, port int) error {
	return setOnSockets(pid, port, false)
}

// setOnSockets sets or removes the key on the listener and the connections of
// the port.
func setOnSockets(pid, port int, on bool) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer closeFD(pidfd)
	sockets, err := duplicateSockets(pid, pidfd)
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range sockets {
			closeFD(s.fd)
		}
	}()
	own := map[int]bool{}
	for _, s := range sockets {
		own[s.localPort] = true
	}
	var errs []error
	for _, s := range sockets {
		// A peer port that is a local port of the same process: the API server's
		// client of itself, which no network is between.
		if s.localPort == port && (s.peerPort == 0 || !own[s.peerPort]) {
			errs = append(errs, setMD5(s.fd, on))
		}
	}
	return errors.Join(errs...)
}

// closeFD gives up a duplicate, at which nothing is left to lose.
func closeFD(fd int) { _ = unix.Close(fd) }

// socket is a duplicate of a process's TCP socket.
type socket struct {
	fd        int
	localPort int
	peerPort  int // 0 for a listener
}

func duplicateSockets(pid, pidfd int) ([]socket, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var sockets []socket
	for _, e := range entries {
		target, err := os.Readlink(dir + "/" + e.Name())
		if err != nil || !strings.HasPrefix(target, "socket:") {
			continue // Closed meanwhile, or no socket.
		}
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			return sockets, err
		}
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if err == unix.EBADF {
			continue // Closed meanwhile.
		}
		if err != nil {
			return sockets, os.NewSyscallError("pidfd_getfd", err)
		}
		local, err := unix.Getsockname(fd)
		address, ok := local.(*unix.SockaddrInet4)
		if err != nil || !ok {
			closeFD(fd)
			continue
		}
		s := socket{fd: fd, localPort: address.Port}
		if peer, err := unix.Getpeername(fd); err == nil {
			if p, ok := peer.(*unix.SockaddrInet4); ok {
				s.peerPort = p.Port
			}
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

// unaccepted reports whether the port has established connections that no
// process has a descriptor of yet.
func unaccepted(pid, port int) (bool, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return false, err
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	suffix := fmt.Sprintf(":%04X", port)
	for scanner.Scan() {
		// sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode:
		// proc_net(5), with addresses as hex and state 01 for ESTABLISHED.
		fields := strings.Fields(scanner.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) && fields[3] == "01" && fields[9] == "0" {
			return true, nil
		}
	}
	return false, scanner.Err()
}

// swallow makes the kernel drop what arrives at a socket of this process: with
// a key as above, or with a packet filter where the kernel knows no keys.
// Filters are the second choice because a kernel may allow them to root only.
func swallow(c syscall.Conn) error {
	return control(c, func(fd int) error {
		errMD5 := setMD5(fd, true)
		if errMD5 == nil {
			return nil
		}
		drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
		err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(drop)), Filter: &drop[0]})
		if err != nil {
			return errors.Join(errMD5, os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err))
		}
		return nil
	})
}

// unswallow ends swallow.
func unswallow(c syscall.Conn) error {
	return control(c, func(fd int) error {
		if setMD5(fd, false) == nil {
			return nil
		}
		return os.NewSyscallError("setsockopt SO_DETACH_FILTER",
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0))
	})
}

func control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
