package gossip

import (
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"
)

// merge takes a piece of news from a peer: what is new holds from now on, is
// reported to the hooks and, with passOn, sent on to other peers. direct is true
// for a single piece of news, and false for an exchange of the whole map.
func (m *Mesh) merge(msg message, passOn, direct bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mergeAll(msg, passOn, direct)
}

// mergeMap takes a peer's map. That comes first in it which is the peer's own.
func (m *Mesh) mergeMap(msg message, join bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := false
	if join && len(msg.records) > 0 {
		from := msg.records[0].node
		if m.tracing {
			m.met = append(m.met, from)
		}
		// What this node learns with its first join is news to nobody else.
		first = !m.joined && from != m.name
		m.joined = m.joined || first
	}
	m.mergeAll(msg, !first, false)
	if first {
		m.notices.add(joinNotice{})
	}
}

// mergeAll is merge, called with mu held.
func (m *Mesh) mergeAll(msg message, passOn, direct bool) {
	now := time.Now()
	for _, r := range msg.records {
		for _, e := range r.entries {
			if r.node == m.name {
				m.mergeOwn(r.epoch, e, direct, now)
				continue
			}
			result := m.replica.mergeEntry(r.node, r.epoch, e, now)
			m.metrics.countMerged(result)
			if result == mergedNew {
				// Load changes all the time, and travels with whole maps only.
				worth := m.tell(r.node, e, now)
				if passOn && (worth || direct) {
					m.broadcast(message{records: []record{{r.node, r.epoch, []entry{e}}}}, broadcastName(r.node, e.key))
				}
			}
		}
	}
	for _, d := range msg.decisions {
		m.mergeDecision(d, passOn, now)
	}
}

// tell marks a new fact of a peer's for the hooks, and reports whether it is more
// than a change of load. Called with mu held.
func (m *Mesh) tell(node string, e entry, now time.Time) (worth bool) {
	if p := m.peers[node]; p != nil {
		p.heard = now
	}
	switch e.key.kind {
	case kindObservation:
		if id := hex.EncodeToString([]byte(e.key.upstream)); m.options.Knows(id) {
			m.notices.add(observationNotice{node, id})
		} else {
			m.metrics.ignore(ignoredUpstream)
		}
	case kindParticulars:
		if m.peers[node] == nil {
			return true
		}
		if !m.particularsChanged(node, e) {
			return false
		}
		m.notices.add(peerNotice(node))
	case kindBeacon:
	default:
		m.metrics.ignore(ignoredKind)
	}
	return true
}

// particularsChanged reports whether anything but the load has changed since the
// last call.
func (m *Mesh) particularsChanged(node string, e entry) bool {
	facts, err := decodeParticulars(e.body)
	if err != nil {
		return false
	}
	p := m.peers[node]
	if facts.leaving && p.state == PeerFailed {
		p.state = PeerLeft // Its farewell took longer than its end.
	}
	facts.Load = Load{}
	body := encodeParticulars(facts)
	changed := p.particulars != body
	p.particulars = body
	return changed
}

// mergeDecision takes what an operator decided elsewhere. Called with mu held.
func (m *Mesh) mergeDecision(d decision, passOn bool, now time.Time) {
	i, err := d.intent()
	if err != nil || i.over(now) {
		// Who still knows it would not take a lower one.
		m.replica.counter = max(m.replica.counter, d.counter)
		m.metrics.ignore(ignoredExpired)
		return
	}
	result := m.replica.mergeDecision(d, now)
	m.metrics.countMerged(result)
	if result != mergedNew {
		return
	}
	switch i.Kind {
	case Drain, Revoke:
		m.notices.add(intentNotice(d.key))
	default:
		m.metrics.ignore(ignoredKind)
	}
	if passOn {
		m.broadcast(message{decisions: []decision{d}}, decisionName(d.key))
	}
}

// mergeOwn takes an entry that is in this node's name. News of its own that comes
// back shows how long it took. What this node did not say comes from an earlier
// run, when the clock was ahead, or from another node of this name, or it is
// forged: this node then restates its own facts in a higher epoch.
func (m *Mesh) mergeOwn(epoch uint64, e entry, direct bool, now time.Time) {
	own := m.replica.nodes[m.name]
	if epoch < m.epoch || own == nil {
		m.metrics.countMerged(mergedOlder)
		return
	}
	if held, ok := own.facts[e.key]; ok && epoch == m.epoch {
		switch c := compareEntries(e, held.entry); {
		case c < 0:
			m.metrics.countMerged(mergedOlder)
			return
		case c == 0:
			m.metrics.countMerged(mergedKnown)
			if sent, ok := m.unheard[e.key]; ok && direct && sent.seq == e.seq {
				m.metrics.heardAgain(now.Sub(sent.at))
				delete(m.unheard, e.key)
			}
			return
		}
	}
	m.metrics.ignore(ignoredOwnName)
	m.refute(epoch, now)
}

// Two nodes of one name refute each other for as long as both are there. So that
// they do not flood the mesh, the pause between two refutations doubles.
const (
	refutePause    = time.Second
	maxRefutePause = 5 * time.Minute
)

// refute raises this node's epoch above one that it did not use.
func (m *Mesh) refute(epoch uint64, now time.Time) {
	if !m.refuted.IsZero() && now.Sub(m.refuted) < m.refuteAfter || epoch+1 >= maxSequence {
		return
	}
	if now.Sub(m.refuted) > 2*maxRefutePause {
		m.refuteAfter = 0
	}
	m.refuteAfter = min(max(refutePause, 2*m.refuteAfter), maxRefutePause)
	m.refuted = now
	m.log.Warn("peers have facts in this node's name that it did not publish: it publishes its own again",
		zap.String("node", m.name), zap.Uint64("epoch", epoch+1))
	m.restate(epoch + 1)
}

// restate publishes everything that still holds again, in a new epoch.
func (m *Mesh) restate(epoch uint64) {
	own := m.replica.nodes[m.name]
	m.epoch = epoch
	m.replica.nodes[m.name] = &run{epoch, map[entryKey]heldEntry{}}
	clear(m.unheard)
	for _, key := range slices.SortedFunc(maps.Keys(own.facts), compareEntryKeys) {
		if held := own.facts[key]; held.body != "" || key.kind != kindObservation {
			m.put(key, held.body, true)
		}
	}
}

// repeat sends what this node said while it had no peers: an exchange of maps
// that began before does not have it. Called with mu held.
func (m *Mesh) repeat() {
	if own := m.replica.nodes[m.name]; own != nil {
		for key, held := range own.facts {
			m.broadcast(message{records: []record{{m.name, m.epoch, []entry{held.entry}}}}, broadcastName(m.name, key))
		}
	}
	for key, held := range m.replica.decisions {
		if held.by == m.name {
			m.broadcast(message{decisions: []decision{held}}, decisionName(key))
		}
	}
}

// sentNews is news of this node's that no peer was heard to pass on yet.
type sentNews struct {
	seq uint64
	at  time.Time
}

// put makes a fact of this node's hold and, with send, sends it. Called with mu
// held.
func (m *Mesh) put(key entryKey, body string, send bool) {
	m.seq++
	e := entry{key, m.seq, body}
	own := m.replica.nodes[m.name]
	if own == nil {
		own = &run{m.epoch, map[entryKey]heldEntry{}}
		m.replica.nodes[m.name] = own
	}
	now := time.Now()
	own.facts[key] = heldEntry{e, now}
	if !send {
		return
	}
	if m.broadcast(message{records: []record{{m.name, m.epoch, []entry{e}}}}, broadcastName(m.name, key)) {
		m.unheard[key] = sentNews{e.seq, now}
	}
}

// broadcast queues a message in place of an older one of that name, and reports
// whether it did: without peers there is nobody to send to, and a message that is
// too long would stay in the queue for ever. Called with mu held.
func (m *Mesh) broadcast(msg message, name string) bool {
	if m.alive.Load() == 0 {
		return false
	}
	raw := msg.encode()
	if len(raw) > maxMessage {
		m.metrics.dropped.Inc()
		return false
	}
	if pruned := m.queue.add(name, raw); pruned > 0 {
		m.metrics.pruned.Add(float64(pruned))
	}
	return true
}
