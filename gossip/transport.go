package gossip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Bounds on what strangers can make this node hold: memberlist reads up to
// 20 MiB from a connection before it finds that it cannot decrypt them.
const (
	maxPacket         = 1500
	maxStream         = 4 << 20 // bytes read of one connection
	maxStreams        = 128     // connections from others at a time
	maxStreamsPerHost = 8
)

// allowList holds the networks that peers may be in.
type allowList struct {
	prefixes atomic.Pointer[[]netip.Prefix]
}

func (a *allowList) set(prefixes []netip.Prefix) { a.prefixes.Store(&prefixes) }

func (a *allowList) allows(ip netip.Addr) bool {
	prefixes := *a.prefixes.Load()
	if len(prefixes) == 0 {
		return true
	}
	ip = ip.Unmap()
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// fits refuses a list that lacks this node's own address.
func (a *allowList) fits(advertise netip.AddrPort) error {
	if a.allows(advertise.Addr()) {
		return nil
	}
	return fmt.Errorf("allowedCIDRs: %v, where peers reach this node, is in none of them: peers with the same list would refuse it", advertise.Addr())
}

// transport carries memberlist's packets and connections. It differs from
// memberlist's own in two ways: packets and connections from networks that are
// not allowed are dropped before they are read (memberlist applies its list only
// to messages that say that a node is alive), and what one host can make us read
// is bounded.
type transport struct {
	tcp       *net.TCPListener
	udp       *net.UDPConn
	advertise netip.AddrPort
	from      net.Addr // of connections to others: the bound address, so that their lists fit
	allowed   *allowList
	metrics   *metrics

	packets chan *memberlist.Packet
	streams chan net.Conn
	ctx     context.Context // ends dials and deliveries
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu    sync.Mutex
	open  int                // guarded by mu: connections from others
	hosts map[netip.Addr]int // guarded by mu: the same for each host
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// listen opens a TCP and a UDP socket on a.bind, with one port. If that port is 0,
// a.advertise's may be too, and becomes the one that was taken.
func listen(ctx context.Context, a addresses, allowed *allowList, m *metrics) (*transport, error) {
	t := &transport{
		advertise: a.advertise, allowed: allowed, metrics: m,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		hosts: map[netip.Addr]int{},
	}
	// A port that is free for TCP may be taken for UDP; that is tried again
	// only where any port will do.
	tries := 1
	if a.bind.Port() == 0 {
		tries = 10
	}
	var err error
	for range tries {
		if err = t.bind(ctx, a.bind); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if t.advertise.Port() == 0 {
		t.advertise = netip.AddrPortFrom(t.advertise.Addr(), t.port())
	}
	if ip := a.bind.Addr(); !ip.IsUnspecified() {
		t.from = &net.TCPAddr{IP: ip.AsSlice(), Zone: ip.Zone()}
	}
	_ = t.udp.SetReadBuffer(1 << 20) // As much as the kernel gives.
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.wg.Go(t.accept)
	t.wg.Go(t.receive)
	return t, nil
}

func (t *transport) bind(ctx context.Context, bind netip.AddrPort) error {
	var config net.ListenConfig
	tcp, err := config.Listen(ctx, "tcp", bind.String())
	if err != nil {
		return fmt.Errorf("gossip cannot listen on TCP %v: %w", bind, err)
	}
	t.tcp = tcp.(*net.TCPListener)
	udp, err := config.ListenPacket(ctx, "udp", netip.AddrPortFrom(bind.Addr(), t.port()).String())
	if err != nil {
		_ = t.tcp.Close()
		return fmt.Errorf("gossip cannot listen on UDP %v: %w", bind, err)
	}
	t.udp = udp.(*net.UDPConn)
	return nil
}

func (t *transport) port() uint16 { return uint16(t.tcp.Addr().(*net.TCPAddr).Port) }

// FinalAdvertiseAddr implements [memberlist.Transport].
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo implements [memberlist.Transport].
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, err
	}
	n, err := t.udp.WriteToUDPAddrPort(b, to)
	t.metrics.countBytes("sent", protocolUDP, n)
	return time.Now(), err
}

// WriteToAddress implements [memberlist.NodeAwareTransport].
func (t *transport) WriteToAddress(b []byte, to memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, to.Addr)
}

// PacketCh implements [memberlist.Transport].
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements [memberlist.Transport].
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout implements [memberlist.Transport].
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, LocalAddr: t.from}
	conn, err := dialer.DialContext(t.ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return t.wrap(conn, func() {}), nil
}

// DialAddressTimeout implements [memberlist.NodeAwareTransport].
func (t *transport) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(to.Addr, timeout)
}

// Shutdown implements [memberlist.Transport]. It closes the sockets and waits
// for the goroutines that read them.
func (t *transport) Shutdown() error {
	t.stop()
	_ = t.tcp.Close()
	_ = t.udp.Close()
	t.wg.Wait()
	return nil
}

func (t *transport) receive() {
	buffer := make([]byte, maxPacket+1)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if t.pause() {
				continue // An ICMP answer to an earlier packet, for one.
			}
			return
		}
		at := time.Now()
		t.metrics.countBytes("received", protocolUDP, n)
		switch {
		case !t.allowed.allows(from.Addr()):
			t.metrics.ignore(ignoredCIDR)
			continue
		case n == 0:
			t.metrics.ignore(ignoredMalformed)
			continue
		case n > maxPacket:
			t.metrics.ignore(ignoredOversize)
			continue
		}
		packet := &memberlist.Packet{Buf: append([]byte(nil), buffer[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: at}
		select {
		case t.packets <- packet:
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *transport) accept() {
	for {
		conn, err := t.tcp.AcceptTCP()
		if err != nil {
			if t.pause() {
				continue // Too many open files, for one.
			}
			return
		}
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !t.allowed.allows(from) {
			t.metrics.ignore(ignoredCIDR)
			_ = conn.Close()
			continue
		}
		if !t.enter(from) {
			t.metrics.ignore(ignoredStreams)
			_ = conn.Close()
			continue
		}
		wrapped := t.wrap(conn, func() { t.leave(from) })
		select {
		case t.streams <- wrapped:
		case <-t.ctx.Done():
			_ = wrapped.Close()
			return
		}
	}
}

// pause waits a moment after a failure to read, and reports whether to go on.
func (t *transport) pause() bool {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return t.ctx.Err() == nil
	case <-t.ctx.Done():
		return false
	}
}

func (t *transport) enter(host netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open >= maxStreams || t.hosts[host] >= maxStreamsPerHost {
		return false
	}
	t.open++
	t.hosts[host]++
	return true
}

func (t *transport) leave(host netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	if t.hosts[host]--; t.hosts[host] <= 0 {
		delete(t.hosts, host)
	}
}

func (t *transport) wrap(conn net.Conn, closed func()) net.Conn {
	return &stream{Conn: conn, metrics: t.metrics, left: maxStream, closed: sync.OnceFunc(closed)}
}

// stream is a connection of which only so much is read, by one goroutine at a
// time.
type stream struct {
	net.Conn
	metrics *metrics
	left    int
	closed  func()
}

// errSilent is of a connection that ends before anything came: kuberelay doctor,
// a port check, or a peer that has given up. memberlist would take the missing
// label for another mesh's.
var errSilent = errors.New("closed before a byte came")

// Read implements [net.Conn].
func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, fmt.Errorf("more than %d bytes: is larger than limit", maxStream)
	}
	n, err := s.Conn.Read(p[:min(len(p), s.left)])
	if n == 0 && err == io.EOF && s.left == maxStream {
		err = errSilent
	}
	s.left -= n
	s.metrics.countBytes("received", protocolTCP, n)
	return n, err
}

// Write implements [net.Conn].
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.metrics.countBytes("sent", protocolTCP, n)
	return n, err
}

// Close implements [net.Conn].
func (s *stream) Close() error {
	s.closed()
	return s.Conn.Close()
}
