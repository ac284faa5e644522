package gossip

import (
	"cmp"
	"slices"
	"time"
)

// observationsOf returns the observations of one upstream by this node and the
// peers that are there, by the observer's name. Called with mu held.
func (m *Mesh) observationsOf(upstream string) []Observation {
	all := []Observation{}
	raw, err := rawID(upstream)
	if err != nil {
		return all
	}
	for node, known := range m.replica.nodes {
		if held, ok := known.facts[entryKey{kindObservation, raw}]; ok && m.counts(node) {
			if o, ok := held.asObservation(node); ok {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b Observation) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// observationsThat returns the observations by this node and the peers that are
// there for which pick is true, by upstream and observer. Called with mu held.
func (m *Mesh) observationsThat(pick func(Observation) bool) []Observation {
	all := []Observation{}
	for node, known := range m.replica.nodes {
		if !m.counts(node) {
			continue
		}
		for _, held := range known.facts {
			if o, ok := held.asObservation(node); ok && pick(o) {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b Observation) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Node, b.Node))
	})
	return all
}

// Majority returns the state in which more than half of the live, decided peers
// see an upstream; ok is false if there is none. SUSPECT is no decision. It is
// meant for an upstream that this node has not probed yet.
func (m *Mesh) Majority(upstream string) (state State, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	votes, total := map[State]int{}, 0
	for _, o := range m.observationsOf(upstream) {
		if o.Node != m.name && o.State.Decided() {
			votes[o.State]++
			total++
		}
	}
	for state, n := range votes {
		if 2*n > total {
			return state, true
		}
	}
	return "", false
}

// Isolated returns the upstreams that this node sees DOWN and that more than
// half of all nodes, this one included, see up: the fault is on this node's side
// of the network. Of two nodes, none is ever isolated.
func (m *Mesh) Isolated() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	isolated := []string{}
	if len(m.peers) == 0 {
		return isolated
	}
	quorum := int(m.alive.Load()+1)/2 + 1
	own, up := m.own(), map[string]int{}
	for _, o := range m.observationsThat(func(o Observation) bool { return o.State.Up() }) {
		up[o.Upstream]++
	}
	for upstream, o := range own {
		if o.State == StateDown && up[upstream] >= quorum && m.options.Knows(upstream) {
			isolated = append(isolated, upstream)
		}
	}
	slices.Sort(isolated)
	return isolated
}

// Snapshot is what a status shows of a mesh. Lists are sorted and never nil.
type Snapshot struct {
	// Node is this node's name.
	Node string
	// Address is where peers reach it.
	Address string
	// Rival is the address of another node that has the same name; "" if none
	// was seen in the last ten minutes.
	Rival string
	// KeyIDs name the keys in force, the one that encrypts first.
	KeyIDs []string
	// Peers are by name; one that is gone is listed for ten minutes.
	Peers []Peer
	// Observations are by this node and the peers that are there, of upstreams
	// that are configured here.
	Observations []Observation
	// Isolated is what [Mesh.Isolated] returns.
	Isolated []string
}

// Snapshot returns the mesh as this node sees it now.
func (m *Mesh) Snapshot() Snapshot {
	s := Snapshot{Node: m.name, Isolated: m.Isolated(), Peers: []Peer{}}
	if address := m.Addr(); address.IsValid() {
		s.Address = address.String()
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.KeyIDs = slices.Clone(m.self.keyIDs)
	s.Rival = recentRival(m.rival, m.rivalAt, now)
	for _, p := range m.peers {
		s.Peers = append(s.Peers, m.public(p, now))
	}
	slices.SortFunc(s.Peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	s.Observations = m.observationsThat(func(o Observation) bool { return m.options.Knows(o.Upstream) })
	return s
}

// totals are what the gauges show.
type totals struct{ alive, failed, blocked, drifted, facts, intents int }

func (m *Mesh) totals() totals {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := totals{intents: len(m.replica.decisions)}
	for _, p := range m.peers {
		if facts, ok := m.selfFacts(p.name); ok && p.state == PeerAlive && facts.ConfigHash != m.self.ConfigHash {
			t.drifted++
		}
		switch {
		case p.state == PeerAlive && p.udp == UDPBlocked:
			t.blocked++
			t.alive++
		case p.state == PeerAlive:
			t.alive++
		case p.state == PeerFailed:
			t.failed++
		}
	}
	for _, known := range m.replica.nodes {
		t.facts += len(known.facts)
	}
	return t
}
