package gossip

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// stranger sends a node what it should not take.
type stranger struct {
	t  *testing.T
	to *node
}

func (s stranger) packet(raw []byte) {
	s.t.Helper()
	conn := s.dial("udp", netip.Addr{})
	defer conn.Close()
	if _, err := conn.Write(raw); err != nil {
		s.t.Fatal(err)
	}
}

func (s stranger) dial(network string, from netip.Addr) net.Conn {
	s.t.Helper()
	var dialer net.Dialer
	if from.IsValid() && network == "udp" {
		dialer.LocalAddr = &net.UDPAddr{IP: from.AsSlice()}
	} else if from.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	conn, err := dialer.DialContext(s.t.Context(), network, s.to.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// send writes raw to a connection, ends it, and waits until the other end has.
func (s stranger) send(raw []byte) {
	s.t.Helper()
	conn := s.dial("tcp", netip.Addr{})
	defer conn.Close()
	_, _ = conn.Write(raw)
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = conn.Read(make([]byte, 4096))
}

func labelled(label string, raw []byte) []byte {
	return append(append([]byte{244, byte(len(label))}, label...), raw...)
}

// captured are packets between two nodes, as they were on the wire.
type captured struct {
	memberlist.NodeAwareTransport
	mu      sync.Mutex
	packets [][]byte
}

func (c *captured) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	c.mu.Lock()
	if len(c.packets) < 2000 {
		c.packets = append(c.packets, bytes.Clone(b))
	}
	c.mu.Unlock()
	return c.NodeAwareTransport.WriteToAddress(b, a)
}

func (c *captured) taken() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][]byte(nil), c.packets...)
}

func TestStrangersPacketsAndConnectionsAreIgnoredAndCounted(t *testing.T) {
	wire := &captured{}
	sender := start(t, func(_ *Config, o *Options) {
		o.wrap = func(t memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
			wire.NodeAwareTransport = t
			return wire
		}
	})
	n := start(t, peersOf(sender))
	nodes := []*node{sender, n}
	within(t, 5*time.Second, "the mesh", func() bool { return whole(nodes) })
	sender.see(upstreamA, StateReady)
	within(t, 5*time.Second, "the observation", func() bool { return len(n.observed(upstreamA)) == 1 })
	within(t, 5*time.Second, "packets", func() bool { return len(wire.taken()) > 3 })
	genuine := wire.taken()[0]
	forged := bytes.Clone(genuine)
	forged[len(forged)-1] ^= 1

	s := stranger{t, n}
	for name, c := range map[string]struct {
		send   func()
		reason string
	}{
		"a packet that was changed":           {func() { s.packet(forged) }, ignoredKey},
		"a packet that was cut short":         {func() { s.packet(genuine[:len(genuine)-1]) }, ignoredKey},
		"a packet of a few bytes":             {func() { s.packet(labelled(DefaultLabel, []byte{1, 2, 3})) }, ignoredMalformed},
		"an empty packet":                     {func() { s.packet(nil) }, ignoredMalformed},
		"a packet without a label":            {func() { s.packet(genuine[2+len(DefaultLabel):]) }, ignoredLabel},
		"a packet with another label":         {func() { s.packet(labelled("consul", genuine[2+len(DefaultLabel):])) }, ignoredLabel},
		"a packet with half a label":          {func() { s.packet([]byte{244, 200, 'k'}) }, ignoredMalformed},
		"a packet that is too long":           {func() { s.packet(make([]byte, 2000)) }, ignoredOversize},
		"noise":                               {func() { s.packet(bytes.Repeat([]byte{0xA5}, 300)) }, ignoredLabel},
		"a request of a browser":              {func() { s.send([]byte("GET / HTTP/1.1\r\n\r\n")) }, ignoredLabel},
		"a connection with another label":     {func() { s.send(labelled("consul", []byte{6})) }, ignoredLabel},
		"a connection that is not encrypted":  {func() { s.send(labelled(DefaultLabel, []byte{6, 0x83})) }, ignoredPlain},
		"a connection that would send 2 GiB":  {func() { s.send(labelled(DefaultLabel, []byte{10, 0x7f, 255, 255, 255, 1})) }, ignoredOversize},
		"a connection with another key":       {func() { s.send(labelled(DefaultLabel, append([]byte{10, 0, 0, 0, 60, 1}, make([]byte, 59)...))) }, ignoredKey},
		"a connection with a label that ends": {func() { s.send([]byte{244, 9, 'k'}) }, ignoredMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			before := n.metric("ignored_total", c.reason)
			c.send()
			within(t, 5*time.Second, "its being counted as "+c.reason, func() bool { return n.metric("ignored_total", c.reason) > before })
		})
	}

	// A connection that ends without a word is a port check.
	labels, malformed := n.metric("ignored_total", ignoredLabel), n.metric("ignored_total", ignoredMalformed)
	for range 5 {
		s.send(nil)
	}
	s.send(labelled("consul", []byte{6}))
	within(t, 5*time.Second, "another label", func() bool { return n.metric("ignored_total", ignoredLabel) > labels })
	if l, m := n.metric("ignored_total", ignoredLabel), n.metric("ignored_total", ignoredMalformed); l != labels+1 || m != malformed {
		t.Errorf("%v connections were of another label and %v malformed, want 1 and 0", l-labels, m-malformed)
	}

	// What was recorded is sent again, all of it, twice.
	known := n.metric("entries_received_total", receivedNew)
	sender.see(upstreamA, StateDown)
	within(t, 5*time.Second, "the newer observation", func() bool { return n.states(upstreamA)[sender.name] == StateDown })
	for range 2 {
		for _, p := range wire.taken() {
			s.packet(p)
		}
	}
	wait(t, 300*time.Millisecond)
	if got := n.states(upstreamA)[sender.name]; got != StateDown {
		t.Errorf("a replayed packet made it %s", got)
	}
	t.Logf("%v entries were new before, %v after", known, n.metric("entries_received_total", receivedNew))
	if !whole(nodes) {
		t.Error("the mesh has lost a member")
	}
}

func TestOtherKeysAndLabelsAreOtherMeshes(t *testing.T) {
	for name, apart := range map[string]struct {
		set    setting
		reason string
	}{
		"another key":   {func(c *Config, _ *Options) { c.SecretKeyFiles = []string{keyFile(t, NewKey())} }, ignoredKey},
		"another label": {func(c *Config, _ *Options) { c.Label = "kuberelay/staging" }, ignoredLabel},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t)
			other := start(t, apart.set, peersOf(n))
			within(t, 5*time.Second, "refused joins", func() bool {
				return n.metric("ignored_total", apart.reason) > 1 && other.metric("joins_total", "error") > 1
			})
			if n.totals().alive+other.totals().alive != 0 {
				t.Error("they have joined")
			}
		})
	}
}

func TestNetworksThatAreNotAllowed(t *testing.T) {
	allowedIP, foreignIP := newIP(), newIP()
	allow := func(ips ...netip.Addr) setting {
		return func(c *Config, _ *Options) {
			for _, ip := range ips {
				c.AllowedCIDRs = append(c.AllowedCIDRs, ip.String()+"/32")
			}
		}
	}
	inside := netip.AddrPortFrom(newIP(), 0)
	n := start(t, at(inside.String()), allow(inside.Addr(), allowedIP))
	friend := start(t, at(netip.AddrPortFrom(allowedIP, 0).String()), peersOf(n))
	within(t, 5*time.Second, "the peer in an allowed network", func() bool { return n.totals().alive == 1 })

	t.Run("they may neither send packets nor connect", func(t *testing.T) {
		before := n.metric("ignored_total", ignoredCIDR)
		s := stranger{t, n}
		conn := s.dial("udp", foreignIP)
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		tcp := s.dial("tcp", foreignIP)
		defer tcp.Close()
		_ = tcp.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := tcp.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes came back", n)
		}
		within(t, 5*time.Second, "both being counted", func() bool { return n.metric("ignored_total", ignoredCIDR) >= before+2 })
	})
	t.Run("a peer there is none, though an allowed one speaks of it", func(t *testing.T) {
		foreign := start(t, at(netip.AddrPortFrom(foreignIP, 0).String()), peersOf(friend))
		within(t, 5*time.Second, "the two others", func() bool { return friend.totals().alive == 2 })
		before := n.metric("ignored_total", ignoredCIDR)
		within(t, 5*time.Second, "its being spoken of", func() bool { return n.metric("ignored_total", ignoredCIDR) > before })
		if got := n.peer(foreign.name); got.Name != "" {
			t.Errorf("it is a peer: %+v", got)
		}
	})
	t.Run("a reload lets them in", func(t *testing.T) {
		c := n.config
		c.AllowedCIDRs = nil
		if err := n.Reload(c, false); err != nil {
			t.Fatal(err)
		}
		within(t, 10*time.Second, "the peer", func() bool { return n.totals().alive == 2 })
	})
	t.Run("a node's own address must be allowed", func(t *testing.T) {
		if err := unstarted(t, allow(foreignIP)).Start(t.Context()); err == nil {
			t.Error("it started")
		}
		c := n.config
		c.AllowedCIDRs = []string{"10.0.0.0/8"}
		if err := n.Reload(c, false); err == nil {
			t.Error("it was reloaded")
		}
	})
}

// Who has the key is trusted, and may still send nonsense.
func TestNonsenseOfAPeerIsIgnoredAndCounted(t *testing.T) {
	nodes := startMesh(t, 2)
	n, d := nodes[0], &delegate{nodes[0].Mesh}
	n.see(upstreamA, StateReady)
	spoof := func(epoch, seq uint64, state State) []byte {
		return message{records: []record{{n.name, epoch, []entry{{entryKey{kindObservation, "12345678"}, seq, encodeObservation(Observation{State: state})}}}}}.encode()
	}
	for name, c := range map[string]struct {
		send   func()
		reason string
	}{
		"news of another version":      {func() { d.NotifyMsg([]byte{9, 9}) }, ignoredVersion},
		"news that cannot be read":     {func() { d.NotifyMsg([]byte{wireVersion, 0xff}) }, ignoredMalformed},
		"news that is too long":        {func() { d.NotifyMsg(make([]byte, maxMessage+1)) }, ignoredOversize},
		"a map that cannot be read":    {func() { d.MergeRemoteState([]byte{wireVersion, 0xff}, false) }, ignoredMalformed},
		"a map that is too long":       {func() { d.MergeRemoteState(make([]byte, maxState+1), false) }, ignoredOversize},
		"a fact of this node's":        {func() { d.NotifyMsg(spoof(n.epoch, 1<<40, StateDown)) }, ignoredOwnName},
		"a kind of fact that is newer": {func() { d.NotifyMsg(message{records: []record{{"x", 1, []entry{{entryKey{99, ""}, 1, ""}}}}}.encode()) }, ignoredKind},
		"a kind of intent that is": {func() {
			d.NotifyMsg(message{decisions: []decision{{decisionKey{99, "12345678"}, 1, "x", "\x08\x01"}}}.encode())
		}, ignoredKind},
		"a decision that ended in 1970": {func() {
			d.NotifyMsg(message{decisions: []decision{encodeIntent(Intent{Kind: Drain, Target: upstreamA, Until: time.UnixMilli(5), Counter: 1, By: "x"})}}.encode())
		}, ignoredExpired},
	} {
		t.Run(name, func(t *testing.T) {
			before := n.metric("ignored_total", c.reason)
			c.send()
			if got := n.metric("ignored_total", c.reason); got != before+1 {
				t.Errorf("%s went from %v to %v", c.reason, before, got)
			}
		})
	}
	if got := n.observed(ClientID("x")); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	within(t, 5*time.Second, "the peer's belief in the node's own word", func() bool { return nodes[1].states(upstreamA)[n.name] == StateReady })
}

func TestOneHostCannotTakeAllConnections(t *testing.T) {
	n := start(t)
	s := stranger{t, n}
	from := newIP()
	for i := range maxStreamsPerHost {
		conn := s.dial("tcp", from)
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "\xf4"); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	tr := n.transport.(*transport)
	within(t, 5*time.Second, "all connections", func() bool { tr.mu.Lock(); defer tr.mu.Unlock(); return tr.open == maxStreamsPerHost })
	more := s.dial("tcp", from)
	defer more.Close()
	_ = more.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := more.Read(make([]byte, 1)); err == nil {
		t.Error("a connection too many was answered")
	}
	if n.metric("ignored_total", ignoredStreams) != 1 {
		t.Error("it is not counted")
	}
	// Others join all the same, and the silent ones are ended.
	peer := start(t, peersOf(n))
	within(t, 5*time.Second, "a peer", func() bool { return peer.totals().alive == 1 })
	within(t, 5*time.Second, "the end of the silent ones", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.hosts[from] == 0
	})
}

func TestAConnectionIsReadOnlySoFar(t *testing.T) {
	n := unstarted(t)
	tr := &transport{metrics: n.metrics}
	ours, theirs := net.Pipe()
	closed := 0
	conn := tr.wrap(ours, func() { closed++ })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		chunk := make([]byte, 64<<10)
		for ctx.Err() == nil {
			if _, err := theirs.Write(chunk); err != nil {
				return
			}
		}
	}()
	read, buffer := 0, make([]byte, 100_000)
	var err error
	for err == nil {
		var n int
		n, err = conn.Read(buffer)
		read += n
	}
	if read != maxStream {
		t.Errorf("%d bytes were read, want %d", read, maxStream)
	}
	for range 2 {
		_ = conn.Close()
	}
	if closed != 1 {
		t.Errorf("the place was given back %d times", closed)
	}
	<-done
}
