package daemon

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// hostAddresses knows the addresses of this host's interfaces, as of at most a
// few seconds ago.
type hostAddresses struct {
	mu    sync.Mutex
	at    time.Time                  // guarded by mu
	known map[netip.Addr]bool        // guarded by mu
	list  func() ([]net.Addr, error) // nil: net.InterfaceAddrs
}

const hostAddressesFor = 3 * time.Second

// has reports whether a connection from the address comes from this host, even
// where the kernel did not say from which process. What cannot be found out
// counts as this host, where a token that is bound to a user needs that user.
func (h *hostAddresses) has(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.known == nil || now.Sub(h.at) > hostAddressesFor {
		h.at, h.known = now, h.look()
	}
	return h.known == nil || h.known[tcp.AddrPort().Addr().Unmap().WithZone("")]
}

func (h *hostAddresses) look() map[netip.Addr]bool {
	list := h.list
	if list == nil {
		list = net.InterfaceAddrs
	}
	addrs, err := list()
	if err != nil {
		return nil
	}
	known := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			known[prefix.Addr().Unmap().WithZone("")] = true
		}
	}
	return known
}
