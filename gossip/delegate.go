package gossip

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// delegate is what memberlist calls. It calls NotifyJoin, NotifyLeave,
// NotifyUpdate, NotifyAlive and NotifyConflict under its node lock, where a call
// of most of its methods would never return (memberlist#237). So nothing here
// calls any of those, and nothing here waits.
type delegate struct{ mesh *Mesh }

// NodeMeta implements [memberlist.Delegate]. There is none: particulars are facts
// like others.
func (d *delegate) NodeMeta(int) []byte { return nil }

// NotifyMsg implements [memberlist.Delegate]: it takes one piece of news.
func (d *delegate) NotifyMsg(raw []byte) {
	m := d.mesh
	m.metrics.countReceived(sentUpdate, len(raw))
	if len(raw) > maxMessage {
		m.metrics.ignore(ignoredOversize)
		return
	}
	d.take(raw)
}

// LocalState implements [memberlist.Delegate].
func (d *delegate) LocalState(bool) []byte {
	m := d.mesh
	m.mu.Lock()
	m.refreshSelf()
	raw, complete := m.replica.message(m.name, m.counts)
	m.mu.Unlock()
	if !complete {
		m.metrics.dropped.Inc()
	}
	m.metrics.countSent(sentFullState, len(raw))
	return raw
}

// MergeRemoteState implements [memberlist.Delegate].
func (d *delegate) MergeRemoteState(raw []byte, join bool) {
	m := d.mesh
	m.metrics.countReceived(sentFullState, len(raw))
	msg, err := decode(raw)
	if err != nil {
		m.metrics.ignoreError(err)
		return
	}
	m.mergeMap(msg, join)
}

func (d *delegate) take(raw []byte) {
	msg, err := decode(raw)
	if err != nil {
		d.mesh.metrics.ignoreError(err)
		return
	}
	d.mesh.merge(msg, true, true)
}

// GetBroadcasts implements [memberlist.Delegate].
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	m := d.mesh
	news := m.queue.take(overhead, limit)
	for _, raw := range news {
		m.metrics.countSent(sentUpdate, len(raw))
	}
	return news
}

// NotifyJoin implements [memberlist.EventDelegate].
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	m := d.mesh
	if n.Name == m.name {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[n.Name]
	if p == nil {
		p = &peer{name: n.Name}
		m.peers[n.Name] = p
	}
	now := time.Now()
	alone := false
	if p.state != PeerAlive {
		alone = m.alive.Add(1) == 1
	}
	p.state, p.since, p.heard, p.udp, p.udpSince = PeerAlive, now, now, UDPUnknown, now
	p.setAddress(n)
	m.metrics.peerEvents.WithLabelValues(eventJoined).Inc()
	m.log.Info("the peer is there", zap.String("peer", p.name), zap.Stringer("address", p.address))
	m.notices.add(peerNotice(p.name))
	if alone {
		m.repeat()
	}
}

// NotifyLeave implements [memberlist.EventDelegate]: it failed or left.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	m := d.mesh
	if n.Name == m.name {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[n.Name]
	if p == nil || p.state != PeerAlive {
		return
	}
	p.state, p.since = PeerFailed, time.Now()
	event := eventFailed
	if facts, ok := m.selfFacts(p.name); ok && facts.leaving {
		p.state, event = PeerLeft, eventLeft
		m.log.Info("the peer has left", zap.String("peer", p.name))
	} else {
		m.log.Warn("the peer has failed", zap.String("peer", p.name), zap.Stringer("address", p.address))
	}
	m.metrics.peerEvents.WithLabelValues(event).Inc()
	if m.alive.Add(-1) == 0 {
		m.queue.clear() // Whoever comes gets the whole map.
	}
	m.notices.add(peerNotice(p.name))
}

// NotifyUpdate implements [memberlist.EventDelegate].
func (d *delegate) NotifyUpdate(*memberlist.Node) {}

// NotifyAlive implements [memberlist.AliveDelegate]: its error keeps out a node in
// a network that is not allowed, whoever reports it.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	m := d.mesh
	ip, ok := netip.AddrFromSlice(n.Addr)
	switch {
	case n.Name == m.name:
		return nil
	case validateName(n.Name) != nil || !ok:
		m.metrics.ignore(ignoredMalformed)
		return fmt.Errorf("%.40q at %v is no node", n.Name, n.Addr)
	case !m.allowed.allows(ip):
		m.metrics.ignore(ignoredCIDR)
		return fmt.Errorf("%v is in no network of allowedCIDRs", ip)
	}
	return nil
}

// NotifyConflict implements [memberlist.ConflictDelegate].
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	m := d.mesh
	m.metrics.conflicts.Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if p := m.peers[existing.Name]; p != nil {
		p.rival, p.rivalAt = other.Address(), now
	}
	if existing.Name == m.name {
		m.rival, m.rivalAt = other.Address(), now
	}
	if last, ok := m.lastName[existing.Name]; ok && now.Sub(last) < conflictLogEvery {
		return
	}
	m.lastName[existing.Name] = now
	m.log.Error("two nodes have one name: change gossip.nodeName on one of them",
		zap.String("name", existing.Name), zap.String("address", existing.Address()), zap.String("other", other.Address()))
}

const conflictLogEvery = time.Minute

// AckPayload implements [memberlist.PingDelegate].
func (d *delegate) AckPayload() []byte { return nil }

// NotifyPingComplete implements [memberlist.PingDelegate]: a packet went to the
// peer and its answer came back.
func (d *delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	d.mesh.setUDP(n.Name, UDPOK)
}
