package daemon

import (
	"math"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/gossip"
)

// peerStates are the words of the status document.
var peerStates = map[gossip.PeerState]string{
	gossip.PeerAlive: admin.PeerAlive, gossip.PeerFailed: admin.PeerDead, gossip.PeerLeft: admin.PeerLeft,
}

// wordFor is the word for a peer in the status document. Who is about to leave
// has said so.
func wordFor(p gossip.Peer) string {
	if p.State == gossip.PeerAlive && p.Leaving {
		return admin.PeerLeft
	}
	return peerStates[p.State]
}

// fill adds to a status what is known of the peers, this node first.
func (m *mesh) fill(s *admin.Status) {
	if m == nil {
		return
	}
	snapshot := m.gossip.Snapshot()
	s.Node = snapshot.Node
	observations := make(map[string][]admin.ObservationStatus)
	k := m.known.Load()
	for _, o := range snapshot.Observations {
		for _, p := range k.upstreams[o.Upstream] {
			observations[o.Node] = append(observations[o.Node], admin.ObservationStatus{
				Cluster: p.cluster.config.Name, Upstream: p.id, State: string(o.State), Since: o.Since,
			})
		}
	}
	s.Peers = append(s.Peers, admin.PeerStatus{
		Name: snapshot.Node, Address: snapshot.Address, Self: true, NameConflict: snapshot.Rival, State: admin.PeerAlive,
		Version: m.daemon.options.Version, ConfigHash: m.daemon.parts.Load().hash, KeyIDs: snapshot.KeyIDs,
		UDP: admin.UDPOK, Observations: observations[snapshot.Node],
	})
	for _, p := range snapshot.Peers {
		s.Peers = append(s.Peers, admin.PeerStatus{
			Name: p.Name, Address: p.Address, NameConflict: p.Rival, State: wordFor(p), Version: p.Version, ConfigHash: p.ConfigHash,
			KeyIDs: p.KeyIDs, AdminAddress: p.AdminAddress, LastHeard: p.LastHeard, UDP: p.UDP, Observations: observations[p.Name], Load: peerLoad(p),
		})
	}
	if isolated := m.named(snapshot.Isolated); len(isolated) > 0 {
		s.Isolated, s.IsolatedReason = true, isolatedReason(isolated)
	}
	s.GossipError = m.gossip.Trouble()
}

// peerLoad is what a peer last said; nil if it said nothing.
func peerLoad(p gossip.Peer) *admin.PeerLoad {
	if p.Started.IsZero() {
		return nil
	}
	return &admin.PeerLoad{
		InFlight: bounded(p.Load.InFlight), Streams: bounded(p.Load.Streams),
	}
}

// bounded is a number of a peer's, who may say anything.
func bounded(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
