package daemon

import (
	"fmt"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/gossip"
)

// peerStates are the words of the status document.
var peerStates = map[gossip.PeerState]string{
	gossip.PeerAlive: admin.PeerAlive, gossip.PeerFailed: admin.PeerDead, gossip.PeerLeft: admin.PeerLeft,
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
		if p, found := k.upstreams[o.Upstream]; found {
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
			Name: p.Name, Address: p.Address, NameConflict: p.Rival, State: peerStates[p.State], Version: p.Version, ConfigHash: p.ConfigHash,
			KeyIDs: p.KeyIDs, AdminAddress: p.AdminAddress, LastHeard: p.LastHeard, UDP: p.UDP, Observations: observations[p.Name],
		})
	}
	for _, key := range snapshot.Isolated {
		if p, found := k.upstreams[key]; found {
			s.Isolated = true
			s.IsolatedReason = fmt.Sprintf("most peers reach API servers that this host does not, such as %s of cluster %s: look at this host's network", p.id, p.cluster.config.Name)
			break
		}
	}
}
