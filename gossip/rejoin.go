package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

// rejoin joins the peers that should be there and are not, at once and then every
// RejoinInterval. That heals a partition: memberlist does not talk to dead nodes
// for long, and then forgets them (memberlist#222).
func (m *Mesh) rejoin(ctx context.Context) {
	var told string
	settled := false
	for {
		told = m.joinMissing(ctx, told)
		interval := m.profile.RejoinInterval
		if alive := m.alivePeers(); len(alive) > 0 && !settled {
			// Many nodes that start at once have much to tell each other; a
			// second exchange of maps soon after the first is quicker than news.
			settled = true
			m.wait(ctx, interval/10)
			_, _ = m.members.Load().Join([]string{alive[rand.N(len(alive))].address.String()})
		}
		timer := time.NewTimer(interval*9/10 + rand.N(interval/5))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-m.kick:
			timer.Stop()
		}
	}
}

// joinMissing tries to join each missing peer once. It returns the problem of
// looking peers up, if any; the one in told is not logged again.
func (m *Mesh) joinMissing(ctx context.Context, told string) string {
	m.mu.Lock()
	seeds := slices.Clone(m.seeds)
	m.mu.Unlock()
	found, err := resolveSeeds(ctx, m.options.Resolver, seeds)
	if ctx.Err() != nil {
		return told
	}
	problem := ""
	if err != nil {
		m.metrics.seedErrors.Inc()
		problem = err.Error()
	}
	if problem != "" && problem != told {
		m.log.Warn("gossip.peers: not all can be looked up; this is tried again", zap.Error(err))
	}
	missing := m.missing(found)
	slots := make(chan struct{}, 8)
	done := make(chan struct{}, len(missing))
	for _, address := range missing {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; done <- struct{}{} }()
			m.join(ctx, address)
		}()
	}
	for range missing {
		<-done
	}
	return problem
}

func (m *Mesh) join(ctx context.Context, address netip.AddrPort) {
	if ctx.Err() != nil {
		return
	}
	_, err := m.members.Load().Join([]string{address.String()})
	if err != nil {
		m.metrics.joins.WithLabelValues("error").Inc()
		return // memberlist logs it, at level debug: the peer may be away for days.
	}
	m.metrics.joins.WithLabelValues("ok").Inc()
}

// missing returns those of the found addresses, and of the peers that failed, at
// which there is no live peer.
func (m *Mesh) missing(found []netip.AddrPort) []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := map[netip.AddrPort]bool{m.Addr(): true}
	for _, p := range m.peers {
		switch p.state {
		case PeerAlive:
			there[p.address] = true
		case PeerFailed:
			found = append(found, p.address)
		case PeerLeft:
		}
	}
	var missing []netip.AddrPort
	for _, address := range found {
		if !there[address] && m.allowed.allows(address.Addr()) && !m.isSelf(address) {
			there[address] = true
			missing = append(missing, address)
		}
	}
	return missing
}

// isSelf reports whether address leads back here although it is not the
// advertised one, because this node listens on every address.
func (m *Mesh) isSelf(address netip.AddrPort) bool {
	if address.Port() != m.bound.Port() || !m.bound.Addr().IsUnspecified() {
		return false
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		network, ok := a.(*net.IPNet)
		return ok && network.IP.Equal(address.Addr().AsSlice())
	})
}
