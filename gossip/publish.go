package gossip

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Observe publishes what this node itself sees of an upstream; o.Node is
// ignored. What has not changed is not sent again.
func (m *Mesh) Observe(o Observation) error {
	upstream, err := rawID(o.Upstream)
	if err != nil {
		return err
	}
	if indexOf(wireStates, o.State) == 0 {
		return fmt.Errorf("gossip: %q is no state of an upstream", o.State)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putObservation(upstream, encodeObservation(o))
	return nil
}

// Forget takes back what this node said of an upstream, which is no longer
// configured.
func (m *Mesh) Forget(upstream string) {
	raw, err := rawID(upstream)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.replica.nodes[m.name]
	if own == nil || own.facts[entryKey{kindObservation, raw}].body == "" {
		return
	}
	m.putObservation(raw, "")
	forgotten := 0
	for key, held := range own.facts {
		if key.kind == kindObservation && held.body == "" {
			forgotten++
		}
	}
	if forgotten > maxForgotten {
		m.restate(m.epoch + 1)
	}
}

// maxForgotten bounds what is remembered of upstreams that come and go.
const maxForgotten = 128

func (m *Mesh) putObservation(upstream, body string) {
	key := entryKey{kindObservation, upstream}
	if own := m.replica.nodes[m.name]; own != nil {
		held, ok := own.facts[key]
		if ok && held.body == body {
			return
		}
		if !ok && len(own.facts) >= maxUpstreams {
			m.metrics.ignore(ignoredFull)
			return
		}
	}
	m.put(key, body, true)
}

// Describe publishes this node's particulars. A change of the load alone is
// sent with the next exchange of the whole map.
func (m *Mesh) Describe(p Particulars) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.self.Particulars
	m.self.Particulars = p
	before.Load = p.Load
	if !before.Started.Equal(p.Started) || before.Version != p.Version ||
		before.ConfigHash != p.ConfigHash || before.AdminAddress != p.AdminAddress {
		m.publishSelf(true)
	}
}

// publishSelf puts the particulars into the map. Called with mu held.
func (m *Mesh) publishSelf(send bool) {
	m.selfSent = time.Now()
	m.put(entryKey{kind: kindParticulars}, encodeParticulars(m.self), send)
}

// refreshSelf puts the load into the map if it has changed and the one there is
// old. Called with mu held.
func (m *Mesh) refreshSelf() {
	if time.Since(m.selfSent) < m.profile.PushPullInterval/2 {
		return
	}
	own := m.replica.nodes[m.name]
	if own == nil || own.facts[entryKey{kind: kindParticulars}].body != encodeParticulars(m.self) {
		m.publishSelf(false)
	}
}

// Intend makes an operator's decision hold on all nodes: it outranks every known
// one about its target. By, At and Counter are set here; the result has them.
// Beside the packets that spread it, each live peer gets it by a connection at
// once. OnIntent is not called.
func (m *Mesh) Intend(i Intent) (Intent, error) {
	if _, err := rawID(i.Target); err != nil {
		return i, err
	}
	if indexOf(wireKinds, i.Kind) == 0 {
		return i, fmt.Errorf("gossip: %q is no kind of intent", i.Kind)
	}
	now := time.Now()
	m.mu.Lock()
	i.At, i.By, i.Counter = now, m.name, m.replica.counter+1
	d := encodeIntent(i)
	if !sequence(i.Counter) {
		m.mu.Unlock()
		return i, errors.New("gossip: a peer has used up the order of decisions: stop all nodes, remove their state files, and start them")
	}
	if m.replica.mergeDecision(d, now) != mergedNew {
		m.mu.Unlock()
		return i, fmt.Errorf("gossip: %d decisions hold already, and there is room for no more: take some back, such as revocations of clients that can be removed from the configuration instead", maxDecisions)
	}
	msg := message{decisions: []decision{d}}
	m.broadcast(msg, decisionName(d.key))
	m.mu.Unlock()
	m.sendToAll(msg.encode())
	return d.intent()
}

// sendToAll sends a message to each peer by a connection, so that an intent does
// not wait for the exchange of maps where packets do not get through.
func (m *Mesh) sendToAll(raw []byte) {
	members := m.members.Load()
	alive := m.alivePeers()
	m.mu.Lock()
	defer m.mu.Unlock()
	if members == nil || m.closed {
		return
	}
	slots := make(chan struct{}, 8)
	for _, p := range alive {
		m.wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			m.metrics.countSent(sentIntent, len(raw))
			if err := members.SendReliable(p.node(), raw); err != nil && m.ctx.Err() == nil {
				m.log.Debug("an intent did not reach the peer by a connection", zap.String("peer", p.name), zap.Error(err))
			}
		})
	}
}

// Import puts decisions from an earlier [Mesh.Export] into the map, before Start
// or after: whatever is newer, here or at a peer, still wins. No hook is called.
// Its error joins what is wrong with each that was not taken.
func (m *Mesh) Import(intents []Intent) error {
	var problems []error
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, i := range intents {
		d := encodeIntent(i)
		_, err := rawID(i.Target)
		switch {
		case err != nil:
		case d.key.kind == 0:
			err = fmt.Errorf("gossip: %q is no kind of intent", i.Kind)
		case !sequence(i.Counter) || validateName(i.By) != nil:
			err = fmt.Errorf("gossip: the decision about %s has no counter (%d) or no author (%q)", i.Target, i.Counter, i.By)
		case i.over(now):
			m.replica.counter = max(m.replica.counter, i.Counter)
		default:
			if m.replica.mergeDecision(d, now) == mergedNew {
				m.broadcast(message{decisions: []decision{d}}, decisionName(d.key))
			}
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// Export returns all known decisions, including those that were taken back or
// have ended, to be kept over a restart of all nodes and imported again.
func (m *Mesh) Export() []Intent {
	m.mu.Lock()
	defer m.mu.Unlock()
	intents := []Intent{}
	for _, held := range m.replica.decisions {
		if i, err := held.intent(); err == nil && indexOf(wireKinds, i.Kind) != 0 {
			intents = append(intents, i)
		}
	}
	slices.SortFunc(intents, func(a, b Intent) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Target, b.Target))
	})
	return intents
}

func rawID(id string) (string, error) {
	if !validID(id) {
		return "", fmt.Errorf("gossip: %q identifies no upstream or client: want 16 lower-case hexadecimal digits", id)
	}
	raw, err := hex.DecodeString(id)
	return string(raw), err
}

// own returns this node's own observations. Called with mu held.
func (m *Mesh) own() map[string]Observation {
	all := map[string]Observation{}
	if known := m.replica.nodes[m.name]; known != nil {
		for held := range maps.Values(known.facts) {
			if o, ok := held.asObservation(m.name); ok {
				all[o.Upstream] = o
			}
		}
	}
	return all
}
