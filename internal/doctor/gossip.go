package doctor

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
)

// gossipPort is the default one.
const gossipPort = "7946"

// gossip examines what gossip needs while no process has its port: that it is
// free, for TCP and UDP, and that peers with a plain address answer over TCP.
// Whether UDP passes both ways only a process that runs can tell; see peers.
func (d *doctor) gossip(ctx context.Context, bind string, peers []string) []Finding {
	var all []Finding
	if address, ok := withPort(bind); ok {
		f := &findings{of: "gossip"}
		port(ctx, f, address)
		datagrams(ctx, f, address)
		all = f.list
	}
	return append(all, each(peers, func(peer string) []Finding {
		address, ok := withPort(peer)
		if !ok {
			return nil
		}
		f := &findings{of: "peer " + peer}
		if host, _, _ := net.SplitHostPort(address); d.name(ctx, f, host) {
			d.connect(ctx, f, address)
		}
		for i := range f.list {
			if f.list[i].Verdict == Failed { // one that is there is enough
				f.list[i].Verdict = Warning
			}
		}
		return f.list
	})...)
}

// withPort is a peer's or this node's own address as host:port; not ok where
// only gossip itself can tell.
func withPort(address string) (string, bool) {
	if address == "" || strings.HasPrefix(address, "_") || strings.HasPrefix(address, "exec:") {
		return "", false
	}
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address, true
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), gossipPort), true
}

// datagrams tries whether UDP packets can be received at an address.
func datagrams(ctx context.Context, f *findings, address string) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, "udp", address)
	if err == nil {
		_ = c.Close() // nothing was received
		f.ok("udp", "%s is free", address)
		return
	}
	do := "correct gossip.bindAddress"
	if errors.Is(err, syscall.EADDRINUSE) {
		do = "stop what receives there (ss -lunp shows it), or choose another port"
	}
	f.fail("udp", do, "%v", err)
}
