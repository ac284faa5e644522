package gossip

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// checkReachability finds peers to which packets do not get through although
// connections do, as with a firewall rule for TCP alone (consul#19965).
// memberlist keeps such a peer alive by pings over TCP or through a third node,
// and says nothing, while gossip by packets is lost.
func (m *Mesh) checkReachability(ctx context.Context) {
	ticker := time.NewTicker(m.profile.CheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		alive := m.alivePeers()
		// memberlist probes each peer once in a round.
		patience := max(m.profile.CheckInterval, 3*time.Duration(len(alive))*m.profile.ProbeInterval)
		for _, p := range alive {
			if ctx.Err() == nil && (p.udp == UDPBlocked || time.Since(p.udpSince) > patience) {
				m.checkPeer(ctx, p)
			}
		}
	}
}

func (m *Mesh) checkPeer(ctx context.Context, p peer) {
	members := m.members.Load()
	for range 3 {
		if _, err := members.Ping(p.name, net.UDPAddrFromAddrPort(p.address)); err == nil {
			m.setUDP(p.name, UDPOK)
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
	conn, err := m.transport.DialAddressTimeout(memberlist.Address{Addr: p.address.String(), Name: p.name}, m.profile.StreamTimeout)
	if err != nil {
		m.setUDP(p.name, UDPUnknown)
		return
	}
	// With the label, a connection that ends at once is no error at the peer.
	_ = memberlist.AddLabelHeaderToStream(conn, m.label)
	_ = conn.Close()
	m.setUDP(p.name, UDPBlocked)
}

// setUDP notes whether packets reach a peer, and logs a change.
func (m *Mesh) setUDP(name, state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[name]
	if p == nil || p.state != PeerAlive {
		return
	}
	now := time.Now()
	before := p.udp
	p.udp, p.udpSince = state, now
	if state == UDPOK {
		p.heard = now
	}
	if before == state {
		return
	}
	m.notices.add(peerNotice(name))
	switch {
	case state == UDPBlocked:
		m.log.Warn("UDP to the peer is blocked and TCP is not: open the port for UDP in both directions; until then news takes up to an exchange of the whole map",
			zap.String("peer", name), zap.Stringer("address", p.address), zap.Duration("exchange", m.profile.PushPullInterval))
	case before == UDPBlocked:
		m.log.Info("UDP to the peer is not blocked any more", zap.String("peer", name), zap.String("udp", state))
	}
}
