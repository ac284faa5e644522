package gossip

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// PeerState says whether a peer is there.
type PeerState string

// The states of a peer.
const (
	PeerAlive  PeerState = "alive"
	PeerFailed PeerState = "failed" // gone, and it did not say that it goes
	PeerLeft   PeerState = "left"
)

// Whether packets get through to a peer and back.
const (
	UDPOK      = "ok"
	UDPBlocked = "blocked" // connections do, packets do not
	UDPUnknown = "unknown" // not known yet, or connections do not get through either
)

// Peer is another node, as this one knows it.
type Peer struct {
	Name string `json:"name"`
	// Address is where it is reached.
	Address string    `json:"address"`
	State   PeerState `json:"state"`
	// Since is when this node saw it enter the state.
	Since time.Time `json:"since,omitzero"`
	// LastHeard is when a sign of life from it came here last.
	LastHeard time.Time `json:"lastHeard,omitzero"`
	// UDP is ok, blocked or unknown.
	UDP string `json:"udp"`
	// RTT is the time of its last answer to a packet.
	RTT time.Duration `json:"rttNanoseconds,omitempty"`
	// KeyIDs are of the keys that it has, the one it encrypts with first.
	KeyIDs []string `json:"keyIDs"`
	// Rival is the address of another node that has the same name.
	Rival string `json:"rival,omitempty"`
	// Leaving is that it said that it goes. It may still be there.
	Leaving bool `json:"leaving,omitempty"`
	Particulars
}

// peer is what the mesh knows of a peer by itself; what the peer says of
// itself is in the replica. Guarded by Mesh.mu.
type peer struct {
	name     string
	address  netip.AddrPort
	state    PeerState
	since    time.Time
	heard    time.Time
	udp      string
	udpSince time.Time // when udp was last found to be so
	rtt      time.Duration
	rival    string
	rivalAt  time.Time
	// particulars are what the hook was last told, encoded, without the load.
	particulars string
}

func (p *peer) setAddress(n *memberlist.Node) {
	ip, _ := netip.AddrFromSlice(n.Addr)
	p.address = netip.AddrPortFrom(ip.Unmap(), n.Port)
}

// node is p for memberlist's methods that send.
func (p *peer) node() *memberlist.Node {
	return &memberlist.Node{Name: p.name, Addr: p.address.Addr().AsSlice(), Port: p.address.Port()}
}

// rivalFor is how long a conflict of names is shown after it was last seen.
const rivalFor = 10 * time.Minute

// public is p with what it says of itself. Called with mu held.
func (m *Mesh) public(p *peer, now time.Time) Peer {
	out := Peer{
		Name: p.name, Address: p.address.String(), State: p.state, Since: p.since, LastHeard: p.heard,
		UDP: p.udp, RTT: p.rtt, KeyIDs: []string{},
	}
	if p.state != PeerAlive {
		out.UDP = UDPUnknown
	}
	if p.rival != "" && now.Sub(p.rivalAt) < rivalFor {
		out.Rival = p.rival
	}
	if facts, ok := m.selfFacts(p.name); ok {
		out.Particulars, out.Leaving = facts.Particulars, facts.leaving
		out.KeyIDs = append(out.KeyIDs, facts.keyIDs...)
	}
	return out
}

// selfFacts returns what a node says of itself. Called with mu held.
func (m *Mesh) selfFacts(node string) (selfFacts, bool) {
	known := m.replica.nodes[node]
	if known == nil {
		return selfFacts{}, false
	}
	held, ok := known.facts[entryKey{kind: kindParticulars}]
	if !ok {
		return selfFacts{}, false
	}
	facts, err := decodeParticulars(held.body)
	return facts, err == nil
}

// counts says whether what a node says counts: it is there, or is this one.
// Called with mu held.
func (m *Mesh) counts(node string) bool {
	if node == m.name {
		return true
	}
	p := m.peers[node]
	return p != nil && p.state == PeerAlive
}

// presence says when a node went, and whether it is there. Called with mu held.
func (m *Mesh) presence(node string) (gone time.Time, alive bool) {
	if m.counts(node) {
		return time.Time{}, true
	}
	if p := m.peers[node]; p != nil {
		return p.since, false
	}
	return time.Time{}, false
}

// alivePeers returns copies of the peers that are there, by name.
func (m *Mesh) alivePeers() []peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var alive []peer
	for _, p := range m.peers {
		if p.state == PeerAlive {
			alive = append(alive, *p)
		}
	}
	slices.SortFunc(alive, func(a, b peer) int { return strings.Compare(a.name, b.name) })
	return alive
}
