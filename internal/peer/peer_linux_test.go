package peer_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kuberelay/kuberelay/internal/peer"
)

// abstract is the address of a Unix socket that needs no file, so that any
// user can connect to it.
func abstract(t testing.TB) string {
	return fmt.Sprintf("@kuberelay-peer-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

// ways are the ways by which a client of this machine can connect to a
// listener: where that listens, and to what the client connects.
func ways(t testing.TB) map[string]struct{ network, listen, host string } {
	m := map[string]struct{ network, listen, host string }{
		"over IPv4":                           {"tcp", "127.0.0.1:0", "127.0.0.1"},
		"over another IPv4 loopback address":  {"tcp", "127.0.0.7:0", "127.0.0.7"},
		"over IPv6":                           {"tcp", "[::1]:0", "::1"},
		"over IPv4 to a dual-stack listener":  {"tcp", ":0", "127.0.0.1"},
		"over IPv6 to a dual-stack listener":  {"tcp", ":0", "::1"},
		"over a Unix socket":                  {"unix", t.TempDir() + "/s", ""},
		"over an abstract Unix socket":        {"unix", abstract(t), ""},
		"over IPv4 to a listener of all IPv4": {"tcp4", "0.0.0.0:0", "127.0.0.1"},
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a, ok := a.(*net.IPNet); ok && a.IP.IsGlobalUnicast() {
			m["over this machine's address "+a.IP.String()] = struct{ network, listen, host string }{
				"tcp", net.JoinHostPort(a.IP.String(), "0"), a.IP.String(),
			}
		}
	}
	return m
}

func target(l net.Listener, host string) string {
	if host == "" {
		return l.Addr().String()
	}
	return on(host, l)
}

func TestUserOfAnotherProcessIsKnown(t *testing.T) {
	for name, way := range ways(t) {
		for _, uid := range users() {
			t.Run(fmt.Sprintf("%s, uid %d", name, uid), func(t *testing.T) {
				if strings.HasPrefix(way.listen, "/") && uid != uint32(os.Geteuid()) {
					way.listen = abstract(t) // The test's directory is not for others.
				}
				l := listener(t, way.network, way.listen)
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", fmt.Sprintf("%s=%d %s %s", clientEnv, uid, way.network, target(l, way.host)))
				cmd.Stderr = os.Stderr
				stay, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				got := peer.Of(accept(t, l))
				stay.Close()
				if err := cmd.Wait(); err != nil {
					t.Errorf("the client: %v", err)
				}
				want := peer.Peer{UID: uid, Known: true, Loopback: true}
				if way.network == "unix" {
					want = peer.Peer{UID: uid, Known: true, Unix: true}
				}
				if got != want {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
			})
		}
	}
}

// A socket of family IPv6 can connect to an IPv4 address, as a mapped one.
func TestClientWithMappedAddressIsKnown(t *testing.T) {
	l := listener(t, "tcp", "127.0.0.1:0")
	for _, uid := range users() {
		fd := -1
		as(t, uid, func() (err error) {
			if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			to := &unix.SockaddrInet6{Port: l.Addr().(*net.TCPAddr).Port}
			copy(to.Addr[:], net.IPv4(127, 0, 0, 1).To16())
			return unix.Connect(fd, to)
		})
		got := peer.Of(accept(t, l))
		unix.Close(fd)
		if want := (peer.Peer{UID: uid, Known: true, Loopback: true}); got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestPeerOfAnEndingConnection(t *testing.T) {
	end := func(how func(c *net.TCPConn) error) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) {
			if err := how(c.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		end   func(*testing.T, net.Conn)
		known bool
	}{
		"a client that has sent all it had to say is known":   {end((*net.TCPConn).CloseWrite), true},
		"a client that has closed is not known":               {end((*net.TCPConn).Close), false},
		"a client that has reset the connection is not known": {end(reset), false},
	} {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			for _, uid := range users() {
				t.Run(fmt.Sprintf("%s, uid %d, %s", name, uid, address), func(t *testing.T) {
					l := listener(t, "tcp", address)
					c := dialAs(t, uid, "tcp", l.Addr().String())
					if _, err := io.WriteString(c, "request"); err != nil {
						t.Fatal(err)
					}
					tt.end(t, c)
					server := accept(t, l)
					check := func(when string) {
						got := peer.Of(server)
						if got.Known != tt.known || got.Known && got.UID != uid || got.Known == (got.Why != "") {
							t.Errorf("%s: got %+v, want Known %v, and Why if not", when, got, tt.known)
						}
					}
					check("when accepted")
					// What it has sent is there whether its sender is or not.
					if b, err := io.ReadAll(server); err == nil && string(b) != "request" {
						t.Errorf("received %q", b)
					}
					acknowledge(t, server)
					check("when read to the end")
				})
			}
		}
	}
}

// acknowledge sends the acknowledgement that the kernel delays: with it, a
// client that has ended its half passes from FIN_WAIT1 to FIN_WAIT2.
func acknowledge(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}); err != nil || e != nil {
		t.Fatal(err, e)
	}
}

// reset closes c without a farewell, so that its port is free at once.
func reset(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }

// Whoever sends a request and leaves must not be taken for whom the kernel
// gives the same port next.
func TestNextUserOfAPortIsNotTakenForTheFormer(t *testing.T) {
	l := listener(t, "tcp", "127.0.0.1:0")
	former, next := uint32(os.Geteuid()), uint32(os.Geteuid())
	if o := others(); len(o) > 0 {
		former, next = o[0], o[1]
	}
	var c *net.TCPConn
	as(t, former, func() error {
		// An address whose ports nobody else takes meanwhile.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 77, 77, 77)}}
		dialed, err := d.Dial("tcp", l.Addr().String())
		if err == nil {
			c = dialed.(*net.TCPConn)
			t.Cleanup(func() { c.Close() })
		}
		return err
	})
	if _, err := io.WriteString(c, "delete everything"); err != nil {
		t.Fatal(err)
	}
	if err := reset(c); err != nil {
		t.Fatal(err)
	}
	as(t, next, func() error {
		d := net.Dialer{LocalAddr: c.LocalAddr()}
		c, err := d.Dial("tcp", l.Addr().String())
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return err
	})
	first, second := accept(t, l), accept(t, l)
	if first.RemoteAddr().String() != second.RemoteAddr().String() {
		t.Fatalf("the connections come from %v and %v, want one port", first.RemoteAddr(), second.RemoteAddr())
	}
	if got := peer.Of(first); got.Known {
		t.Errorf("the former: got %+v, want not known", got)
	}
	if got := peer.Of(second); !got.Known || got.UID != next {
		t.Errorf("the next: got %+v, want uid %d", got, next)
	}
}

func TestConnectionsThatCannotBeAskedAbout(t *testing.T) {
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	l := listener(t, "tcp", "127.0.0.1:0")
	dialAs(t, uint32(os.Geteuid()), "tcp", l.Addr().String())
	closed := accept(t, l)
	closed.Close()
	udp, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for name, tt := range map[string]struct {
		conn net.Conn
		want string
	}{
		"a pipe":                   {pipe, "no socket"},
		"TLS on a pipe":            {tls.Server(pipe, nil), "no socket"},
		"a closed connection":      {closed, "closed"},
		"UDP":                      {udp, "protocol 17"},
		"a wrapper around nothing": {wrapper{}, "no socket"},
		"a wrapper around itself":  {newLoop(), "no socket"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := peer.Of(tt.conn); got.Known || !strings.Contains(got.Why, tt.want) {
				t.Errorf("got %+v, want not known because of %q", got, tt.want)
			}
		})
	}
}

// wrapper is a connection around another, as TLS and PROXY protocol ones are.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn    { return w.Conn }
func (w wrapper) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1} }

type loop struct{ wrapper }

func newLoop() net.Conn {
	l := &loop{}
	l.Conn = l
	return l
}

func TestWrappersAreUnwrapped(t *testing.T) {
	for name, way := range ways(t) {
		l := listener(t, way.network, way.listen)
		dialAs(t, uint32(os.Geteuid()), way.network, target(l, way.host))
		c := accept(t, l)
		want := peer.Of(c)
		if got := peer.Of(wrapper{tls.Server(wrapper{c}, nil)}); got != want || !got.Known {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

// A process can connect to a loopback address from any address of its machine.
func TestClientsOfALoopbackListenerAreKnownWhateverTheirAddress(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		from, ok := a.(*net.IPNet)
		if !ok || from.IP.To4() == nil {
			continue
		}
		l := listener(t, "tcp", "127.0.0.1:0")
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.IP}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want := peer.Peer{UID: uint32(os.Geteuid()), Known: true, Loopback: true}
		if got := peer.Of(accept(t, l)); got != want {
			t.Errorf("from %v: got %+v, want %+v", from.IP, got, want)
		}
	}
}

// Multipath TCP keeps a connection open without the socket it began with.
func TestMultipathTCPIsNotKnown(t *testing.T) {
	lc := &net.ListenConfig{}
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := &net.Dialer{}
	d.SetMultipathTCP(true)
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server := accept(t, l)
	multipath, err := server.(*net.TCPConn).MultipathTCP()
	if err != nil {
		t.Fatal(err)
	}
	// Without the kernel's support both ends are plain TCP, and known.
	if got := peer.Of(server); got.Known == multipath || multipath && !strings.Contains(got.Why, "multipath") {
		t.Errorf("multipath %v: got %+v", multipath, got)
	}
}

func TestManyAtOnce(t *testing.T) {
	type result struct {
		port string
		got  peer.Peer
	}
	const n = 200
	l := listener(t, "tcp", ":0")
	var wg sync.WaitGroup
	dialed := make([]string, n) // its local address
	release := make(chan struct{})
	failed := make(chan error, n)
	want := make([]uint32, n)
	for i := range n {
		want[i] = users()[i%len(users())]
		host := []string{"127.0.0.1", "::1"}[i/2%2]
		wg.Go(func() {
			failed <- tryAs(want[i], func() error {
				c, err := net.Dial("tcp", on(host, l))
				if err != nil {
					return err
				}
				wg.Go(func() { <-release; c.Close() })
				dialed[i] = c.LocalAddr().String()
				return nil
			})
		})
	}
	results := make(chan result, n)
	for range n {
		c := accept(t, l)
		wg.Go(func() { results <- result{c.RemoteAddr().String(), peer.Of(c)} })
	}
	got := map[string]peer.Peer{}
	for range n {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
		r := <-results
		got[r.port] = r.got
	}
	close(release)
	wg.Wait()
	for i, address := range dialed {
		if p := got[address]; !p.Known || p.UID != want[i] {
			t.Errorf("%s: got %+v, want uid %d", address, p, want[i])
		}
	}
}

func BenchmarkOf(b *testing.B) {
	for name, way := range ways(b) {
		b.Run(name, func(b *testing.B) {
			l := listener(b, way.network, way.listen)
			dialAs(b, uint32(os.Geteuid()), way.network, target(l, way.host))
			c := accept(b, l)
			b.ReportAllocs()
			for b.Loop() {
				if p := peer.Of(c); !p.Known {
					b.Fatal(p.Why)
				}
			}
		})
	}
}
