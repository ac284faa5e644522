package daemon

import (
	"net"
	"net/netip"
	"testing"
)

func TestAdminAddressForPeers(t *testing.T) {
	gossip := netip.MustParseAddrPort("10.1.0.2:7946")
	for name, c := range map[string]struct {
		bound  net.Addr
		gossip netip.AddrPort
		want   string
	}{
		"an address of the host":                {tcpAddr("10.9.0.2:9801"), gossip, "10.9.0.2:9801"},
		"all addresses":                         {tcpAddr("0.0.0.0:9801"), gossip, "10.1.0.2:9801"},
		"all addresses, IPv6":                   {tcpAddr("[::]:9801"), netip.MustParseAddrPort("[fd00::2]:7946"), "[fd00::2]:9801"},
		"loopback, where each finds itself":     {tcpAddr("127.0.0.1:9801"), gossip, ""},
		"loopback, IPv6":                        {tcpAddr("[::1]:9801"), gossip, ""},
		"all addresses, gossip on one host":     {tcpAddr("0.0.0.0:9801"), netip.MustParseAddrPort("127.0.0.1:7946"), ""},
		"all addresses, gossip does not run":    {tcpAddr("[::]:9801"), netip.AddrPort{}, ""},
		"no admin server":                       {nil, gossip, ""},
		"an address of the host in IPv6's form": {tcpAddr("[::ffff:10.9.0.2]:9801"), gossip, "10.9.0.2:9801"},
	} {
		if got := adminAddressFor(c.bound, c.gossip); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func tcpAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
