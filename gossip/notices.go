package gossip

import (
	"context"
	"encoding/hex"
	"sync"
	"time"
)

// What a notice is about.
type (
	observationNotice struct{ node, upstream string }
	intentNotice      decisionKey
	peerNotice        string
)

// notices are the subjects that the hooks have yet to be told of, each once: what
// a hook gets is read when it is called. So there are never more notices than
// facts, and none is lost.
type notices struct {
	signal chan struct{}

	mu    sync.Mutex
	order []any        // guarded by mu
	known map[any]bool // guarded by mu
}

func newNotices() *notices {
	return &notices{signal: make(chan struct{}, 1), known: map[any]bool{}}
}

func (n *notices) add(subject any) {
	n.mu.Lock()
	if !n.known[subject] {
		n.known[subject] = true
		n.order = append(n.order, subject)
	}
	n.mu.Unlock()
	select {
	case n.signal <- struct{}{}:
	default:
	}
}

func (n *notices) take() []any {
	n.mu.Lock()
	defer n.mu.Unlock()
	subjects := n.order
	n.order = nil
	clear(n.known)
	return subjects
}

// notify calls the hooks until ctx ends.
func (m *Mesh) notify(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.notices.signal:
		}
		for _, subject := range m.notices.take() {
			if ctx.Err() != nil {
				return
			}
			m.notifyOf(subject)
		}
	}
}

func (m *Mesh) notifyOf(subject any) {
	switch s := subject.(type) {
	case observationNotice:
		if o, ok := m.observationBy(s.node, s.upstream); ok {
			m.options.OnObservation(o)
		}
	case intentNotice:
		m.mu.Lock()
		held, ok := m.replica.decisions[decisionKey(s)]
		m.mu.Unlock()
		if i, err := held.intent(); ok && err == nil {
			m.options.OnIntent(i)
		}
	case peerNotice:
		m.mu.Lock()
		p := m.peers[string(s)]
		var public Peer
		if p != nil {
			public = m.public(p, time.Now())
		}
		m.mu.Unlock()
		if p != nil {
			m.options.OnPeer(public)
		}
	}
}

// observationBy returns what a node says of an upstream.
func (m *Mesh) observationBy(node, upstream string) (Observation, bool) {
	raw, err := hex.DecodeString(upstream)
	if err != nil {
		return Observation{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.replica.nodes[node]
	if known == nil {
		return Observation{}, false
	}
	held, ok := known.facts[entryKey{kindObservation, string(raw)}]
	if !ok {
		return Observation{}, false
	}
	return held.asObservation(node)
}

// asObservation returns what a node observes by e; ok is false if e is no
// observation, or one that was taken back.
func (e entry) asObservation(node string) (o Observation, ok bool) {
	if e.key.kind != kindObservation || e.body == "" {
		return Observation{}, false
	}
	o, err := decodeObservation(e.body)
	o.Node, o.Upstream = node, hex.EncodeToString([]byte(e.key.upstream))
	return o, err == nil && o.State != ""
}
