package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The hosts' network (RFC 5737): the outside's address there, the one that
// floats between hosts, and the first port at which API servers are reached.
const (
	outside  = "192.0.2.1"
	floating = "192.0.2.100"
	apiPort  = 6443
)

func address(host int) string { return "192.0.2." + strconv.Itoa(10+host) }

// network is a bridge in a network namespace of its own.
type network struct {
	name      string
	file      *os.File // the namespace
	mu        sync.Mutex
	listeners []io.Closer
}

const bridgeName = "kuberelay0"

func newNetwork() (*network, error) {
	n := &network{name: fmt.Sprintf("kuberelay-%d", os.Getpid())}
	if err := command("ip", "netns", "add", n.name); err != nil {
		return nil, err
	}
	var err error
	if n.file, err = os.Open("/run/netns/" + n.name); err != nil {
		return nil, err
	}
	for _, args := range []string{
		"link set lo up", "link add " + bridgeName + " type bridge",
		"addr add " + outside + "/24 dev " + bridgeName, "link set " + bridgeName + " up",
	} {
		if err := command("ip", append([]string{"-n", n.name}, strings.Fields(args)...)...); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	return n, nil
}

func (n *network) close() error {
	n.mu.Lock()
	for _, c := range n.listeners {
		c.Close()
	}
	n.mu.Unlock()
	n.file.Close()
	return command("ip", "netns", "delete", n.name)
}

// within calls f on a thread that is in the namespace: sockets that f makes
// belong to it for good.
func (n *network) within(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, back) // the thread stays locked, and ends
	}
	runtime.UnlockOSThread()
	return err
}

// dial connects from outside to a host; the address is an IP address.
func (n *network) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.within(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// forward lets hosts reach an address of this machine at a port of outside.
func (n *network) forward(port int, to string) error {
	return n.within(func() error {
		l, err := net.Listen("tcp4", net.JoinHostPort(outside, strconv.Itoa(port)))
		if err != nil {
			return err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.listeners = append(n.listeners, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go pipe(c, to)
			}
		}()
		return nil
	})
}

func pipe(c net.Conn, to string) {
	defer c.Close()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{c, d}, {d, c}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].(*net.TCPConn).CloseWrite()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
