package gossip

import (
	"cmp"
	"slices"
	"time"
)

// Observations returns what this node and the peers that are there say of an
// upstream, by name of the observer.
func (m *Mesh) Observations(upstream string) []Observation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.observationsOf(upstream)
}

// observationsOf is Observations, called with mu held.
func (m *Mesh) observationsOf(upstream string) []Observation {
	all := []Observation{}
	raw, err := rawID(upstream)
	if err != nil {
		return all
	}
	for node, known := range m.replica.nodes {
		if held, ok := known.facts[entryKey{kindObservation, raw}]; ok && m.counts(node) {
			if o, ok := held.observation(node); ok {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b Observation) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// observations returns those that count and that pick picks, by upstream and
// observer. Called with mu held.
func (m *Mesh) observations(pick func(Observation) bool) []Observation {
	all := []Observation{}
	for node, known := range m.replica.nodes {
		if !m.counts(node) {
			continue
		}
		for _, held := range known.facts {
			if o, ok := held.observation(node); ok && pick(o) {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b Observation) int {
		return cmp.Or(cmp.Compare(a.Upstream, b.Upstream), cmp.Compare(a.Node, b.Node))
	})
	return all
}

// Majority returns the state that more than half of those peers see an upstream
// in that are there and have decided (SUSPECT is no decision), and how many do;
// ok is false if there is none. It is meant for an upstream that this node has
// not probed yet.
func (m *Mesh) Majority(upstream string) (state State, observers int, ok bool) {
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
			return state, n, true
		}
	}
	return "", 0, false
}

// Isolated returns the upstreams that this node sees DOWN and that more than
// half of all nodes, this one counted, see up: the fault is on this node's side
// of the network. Two nodes are never a quorum.
func (m *Mesh) Isolated() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	isolated := []string{}
	if len(m.peers) == 0 {
		return isolated
	}
	quorum := int(m.alive.Load()+1)/2 + 1
	own, up := m.own(), map[string]int{}
	for _, o := range m.observations(func(o Observation) bool { return o.State.Up() }) {
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

// Snapshot is what a status page shows of a mesh. Lists are sorted and never
// nil.
type Snapshot struct {
	// Node is this node.
	Node string `json:"node"`
	// Address is where peers reach it.
	Address string `json:"address"`
	Label   string `json:"label"`
	// KeyIDs are of the keys in force, the one that encrypts first.
	KeyIDs []string `json:"keyIDs"`
	// Rival is the address of another node with this node's name.
	Rival string `json:"rival,omitempty"`
	// Drift lists the peers whose configuration is another than this node's.
	Drift []string `json:"drift"`
	// Peers are by name; those that are gone, for ten minutes.
	Peers []Peer `json:"peers"`
	// Observations are of upstreams that are configured here, by this node and
	// the peers that are there.
	Observations []Observation `json:"observations"`
	// UnknownUpstreams counts the others that peers observe.
	UnknownUpstreams int `json:"unknownUpstreams"`
	// Isolated is as of [Mesh.Isolated].
	Isolated []string `json:"isolated"`
	// Intents are those that hold.
	Intents []Intent `json:"intents"`
	// HealthScore is memberlist's judgement of this node: 0 is healthy.
	HealthScore int `json:"healthScore"`
	// Queued counts the news that wait to be sent.
	Queued int `json:"queued"`
}

// Snapshot returns the mesh as this node sees it now.
func (m *Mesh) Snapshot() Snapshot {
	s := Snapshot{
		Node: m.name, Label: m.label, Isolated: m.Isolated(), Drift: []string{}, Peers: []Peer{}, Intents: []Intent{},
		HealthScore: m.healthScore(), Queued: m.queue.len(),
	}
	if address := m.Addr(); address.IsValid() {
		s.Address = address.String()
	}
	now := time.Now()
	for _, i := range m.Export() {
		if i.On && !i.Expired(now) {
			s.Intents = append(s.Intents, i)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.KeyIDs = slices.Clone(m.self.keyIDs)
	if m.rival != "" && now.Sub(m.rivalAt) < rivalFor {
		s.Rival = m.rival
	}
	for _, p := range m.peers {
		public := m.public(p, now)
		s.Peers = append(s.Peers, public)
		if p.state == PeerAlive && public.ConfigHash != m.self.ConfigHash {
			s.Drift = append(s.Drift, p.name)
		}
	}
	slices.Sort(s.Drift)
	slices.SortFunc(s.Peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
	unknown := map[string]bool{}
	s.Observations = m.observations(func(o Observation) bool {
		known := m.options.Knows(o.Upstream)
		if !known {
			unknown[o.Upstream] = true
		}
		return known
	})
	s.UnknownUpstreams = len(unknown)
	return s
}

// totals are what the gauges show.
type totals struct{ alive, failed, blocked, facts, intents int }

func (m *Mesh) totals() totals {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := totals{intents: len(m.replica.decisions)}
	for _, p := range m.peers {
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
