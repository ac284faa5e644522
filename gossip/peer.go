package gossip

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// PeerState is whether a peer is there.
type PeerState string

// The states of a peer.
const (
	PeerAlive  PeerState = "alive"
	PeerFailed PeerState = "failed" // gone without a word
	PeerLeft   PeerState = "left"   // gone, as it said it would
)

// Whether packets get through to a peer and back.
const (
	UDPOK      = "ok"
	UDPBlocked = "blocked" // connections do, packets do not
	UDPUnknown = "unknown" // not known yet, or connections do not get through either
)

// Peer is another node, as this one knows it.
type Peer struct {
	Name string
	// Address is where it is reached.
	Address string
	State   PeerState
	// LastHeard is when the last sign of life from it came here.
	LastHeard time.Time
	// UDP is ok, blocked or unknown.
	UDP string
	// KeyIDs name the keys that it has, the one it encrypts with first.
	KeyIDs []string
	// Rival is the address of another node that has the same name; "" if none
	// was seen in the last ten minutes.
	Rival string
	Particulars
}

// peer is what this node itself knows of a peer; what the peer says of itself is
// in the replica. Guarded by Mesh.mu.
type peer struct {
	name     string
	address  netip.AddrPort
	state    PeerState
	since    time.Time
	heard    time.Time
	udp      string
	udpSince time.Time // when udp was last found to be so
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

func recentRival(address string, seen, now time.Time) string {
	if now.Sub(seen) >= rivalFor {
		return ""
	}
	return address
}

// public is p as others see it, with what it says of itself. Called with mu held.
func (m *Mesh) public(p *peer, now time.Time) Peer {
	out := Peer{
		Name: p.name, Address: p.address.String(), State: p.state, LastHeard: p.heard,
		UDP: p.udp, KeyIDs: []string{}, Rival: recentRival(p.rival, p.rivalAt, now),
	}
	if p.state != PeerAlive {
		out.UDP = UDPUnknown
	}
	if facts, ok := m.selfFacts(p.name); ok {
		out.Particulars = facts.Particulars
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

// counts reports whether what a node says counts: it is there, or it is this
// one. Called with mu held.
func (m *Mesh) counts(node string) bool {
	if node == m.name {
		return true
	}
	p := m.peers[node]
	return p != nil && p.state == PeerAlive
}

// presence returns whether a node is there and, if not, since when. Called with
// mu held.
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
