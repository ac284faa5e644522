package daemon

import (
	"errors"
	"net"
	"testing"
)

func TestHostAddresses(t *testing.T) {
	own := func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.IPv4(192, 0, 2, 7), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("2001:db8::7"), Mask: net.CIDRMask(64, 128)},
		}, nil
	}
	for name, c := range map[string]struct {
		list func() ([]net.Addr, error)
		from net.Addr
		want bool
	}{
		"an address of this host":               {own, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4000}, true},
		"the same, mapped into IPv6":            {own, &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 4000}, true},
		"an IPv6 address of this host, zoned":   {own, &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Zone: "eth0"}, true},
		"a neighbour's":                         {own, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 4000}, false},
		"unknown, as the interfaces are":        {func() ([]net.Addr, error) { return nil, errors.New("no netlink") }, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8)}, true},
		"no TCP address at all":                 {own, &net.UnixAddr{Name: "@"}, true},
		"a host without any interface but lo's": {func() ([]net.Addr, error) { return nil, nil }, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := hostAddresses{list: c.list}
			if got := h.has(c.from); got != c.want {
				t.Errorf("%v is this host's: %t, want %t", c.from, got, c.want)
			}
		})
	}
}
