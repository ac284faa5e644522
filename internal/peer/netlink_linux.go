package peer

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// timeout is how long an answer is waited for. The kernel gives it while it
// takes the question, so waiting at all is exceptional.
const timeout = 100 * time.Millisecond

// netlink is a socket on which the kernel is asked, opened when it is first
// needed and again after any failure, so that no question meets the answer to
// an earlier one. It is for one goroutine at a time.
type netlink struct {
	fd   int
	open bool
}

// ask sends a request, writes the datagram that answers it to answer, and
// returns its length.
func (n *netlink) ask(request, answer []byte) (int, error) {
	if err := n.connect(); err != nil {
		return 0, err
	}
	length, err := n.exchange(request, answer)
	if err != nil {
		n.open = false
		return 0, errors.Join(err, unix.Close(n.fd))
	}
	return length, nil
}

// connect opens the socket and connects it to the kernel: processes cannot
// send to it then.
func (n *netlink) connect() error {
	if n.open {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("open a netlink socket: %w (systemd's RestrictAddressFamilies= must contain AF_NETLINK)", err)
	}
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return errors.Join(fmt.Errorf("connect a netlink socket: %w", err), unix.Close(fd))
	}
	n.fd, n.open = fd, true
	return nil
}

func (n *netlink) exchange(request, answer []byte) (int, error) {
	deadline := time.Now().Add(timeout)
	for {
		_, err := unix.Write(n.fd, request)
		if err == nil {
			break
		}
		if err := n.again(err, unix.POLLOUT, deadline); err != nil {
			return 0, fmt.Errorf("ask the kernel: %w", err)
		}
	}
	for {
		length, _, flags, from, err := unix.Recvmsg(n.fd, answer, nil, 0)
		if err != nil {
			if err := n.again(err, unix.POLLIN, deadline); err != nil {
				return 0, fmt.Errorf("the kernel's answer: %w", err)
			}
			continue
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
			return 0, errors.New("the kernel's answer: another process has sent it")
		}
		if flags&unix.MSG_TRUNC != 0 {
			return 0, fmt.Errorf("the kernel's answer: it has more than %d bytes", len(answer))
		}
		// A stale answer is dropped: the sequence number tells.
		if length >= headerLen && !bytes.Equal(answer[8:12], request[8:12]) {
			continue
		}
		return length, nil
	}
}

// again returns nil if what failed with err is worth another try, which it
// waits for, and the reason otherwise.
func (n *netlink) again(err error, events int16, deadline time.Time) error {
	switch {
	case errors.Is(err, unix.EINTR):
	case errors.Is(err, unix.EAGAIN):
		wait := time.Until(deadline)
		if wait <= 0 {
			return fmt.Errorf("none within %v", timeout)
		}
		fds := []unix.PollFd{{Fd: int32(n.fd), Events: events}}
		if _, err := unix.Poll(fds, int(wait/time.Millisecond)+1); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	default:
		return err
	}
	return nil
}
