package gossip

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Bounds on what a replica keeps.
const (
	maxNodes     = 256
	maxUpstreams = maxEntries - 2 // of one node, beside particulars and beacon
)

// replica is the replicated map: the latest facts of each node's latest run, and
// for each target the decision that wins. Merging messages into it is a join in a
// semilattice: a greater epoch replaces all facts of a node, within one epoch the
// greatest (sequence, body) of each fact wins, and of decisions the greatest
// (counter, node, body). Time only decides what is forgotten, which is not part
// of merging. It is not safe for concurrent use.
type replica struct {
	nodes     map[string]*run
	decisions map[decisionKey]decision
	counter   uint64 // the greatest of all decisions that were seen
}

// run is what a node has said since it started.
type run struct {
	epoch uint64
	facts map[entryKey]heldEntry
}

// heldEntry is an entry and when this version of it first came here.
type heldEntry struct {
	entry
	heard time.Time
}

func newReplica() *replica {
	return &replica{nodes: map[string]*run{}, decisions: map[decisionKey]decision{}}
}

// merged is what became of an entry or a decision.
type merged int

const (
	mergedNew   merged = iota // it is what holds now
	mergedKnown               // it already was
	mergedOlder               // something newer is known
	mergedFull                // there is no room for it
)

func (r *replica) mergeEntry(node string, epoch uint64, e entry, now time.Time) merged {
	known := r.nodes[node]
	switch {
	case known == nil && len(r.nodes) >= maxNodes:
		return mergedFull
	case known == nil, known.epoch < epoch:
		known = &run{epoch, map[entryKey]heldEntry{}}
		r.nodes[node] = known
	case known.epoch > epoch:
		return mergedOlder
	}
	held, ok := known.facts[e.key]
	if !ok {
		if len(known.facts) >= maxUpstreams+2 {
			return mergedFull
		}
		known.facts[e.key] = heldEntry{e, now}
		return mergedNew
	}
	switch c := compareEntries(e, held.entry); {
	case c == 0:
		return mergedKnown
	case c < 0:
		return mergedOlder
	}
	known.facts[e.key] = heldEntry{e, now}
	return mergedNew
}

// compareEntries orders two entries of one key. Two that differ in their bodies
// alone come from two nodes of one name; all nodes choose the same one even then.
func compareEntries(a, b entry) int {
	return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.body, b.body))
}

func (r *replica) mergeDecision(d decision, now time.Time) merged {
	r.counter = max(r.counter, d.counter)
	held, ok := r.decisions[d.key]
	if !ok {
		if len(r.decisions) >= maxDecisions && !r.evict(now) {
			return mergedFull
		}
		r.decisions[d.key] = d
		return mergedNew
	}
	switch c := compareDecisions(d, held); {
	case c == 0:
		return mergedKnown
	case c < 0:
		return mergedOlder
	}
	r.decisions[d.key] = d
	return mergedNew
}

func compareDecisions(a, b decision) int {
	return cmp.Or(cmp.Compare(a.counter, b.counter), cmp.Compare(a.by, b.by), cmp.Compare(a.body, b.body))
}

// evict forgets the oldest decision that was taken back or has ended. It reports
// whether there was one.
func (r *replica) evict(now time.Time) bool {
	var oldest decisionKey
	found := false
	for key, d := range r.decisions {
		if i, err := d.intent(); err == nil && i.On && !i.Expired(now) {
			continue
		}
		if !found || compareDecisions(d, r.decisions[oldest]) < 0 {
			oldest, found = key, true
		}
	}
	if found {
		delete(r.decisions, oldest)
	}
	return found
}

// keepTakenBack is how long it is remembered that a decision was taken back, so
// that a node that was away for less does not bring it back.
const keepTakenBack = 7 * 24 * time.Hour

// keepExpired is how long a decision outlives its end, so that nodes whose
// clocks differ by less do not hand it to each other for ever.
const keepExpired = 24 * time.Hour

// over reports whether nobody needs to know of i any more: it is forgotten, and
// not taken from others. That goes by times that i itself has, not by when it came
// here: every node that starts anew or joins would begin to count then, and the
// nodes would hand it to each other for ever. If the clock of the node that took
// it back is wrong by some time, it is remembered for that much less or more. A
// node whose own clock is wrong forgets it that much earlier or later than the
// others, who do not bring it back to it. A node whose clock is a week behind
// takes nothing back but on itself.
func (i Intent) over(now time.Time) bool {
	return i.Expired(now.Add(-keepExpired)) || !i.On && now.Sub(i.At) >= keepTakenBack
}

// expire forgets what a node that is gone said, once both that and the node's
// going are ttl ago, and decisions that hold no more.
func (r *replica) expire(now time.Time, ttl time.Duration, presence func(node string) (gone time.Time, alive bool)) {
	for node, known := range r.nodes {
		gone, alive := presence(node)
		if alive {
			continue
		}
		maps.DeleteFunc(known.facts, func(_ entryKey, e heldEntry) bool {
			return now.Sub(e.heard) >= ttl && now.Sub(gone) >= ttl
		})
		if len(known.facts) == 0 {
			delete(r.nodes, node)
		}
	}
	maps.DeleteFunc(r.decisions, func(_ decisionKey, d decision) bool {
		i, err := d.intent()
		return err != nil || i.over(now)
	})
}

// message returns all that is known of the nodes for which include is true, and
// all decisions. What does not fit into maxState bytes is left out: then complete
// is false. The node first is encoded first, so it is never left out.
func (r *replica) message(first string, include func(node string) bool) (raw []byte, complete bool) {
	var m message
	for _, key := range slices.SortedFunc(maps.Keys(r.decisions), compareDecisionKeys) {
		m.decisions = append(m.decisions, r.decisions[key])
	}
	raw, complete = m.encode(), true
	names := slices.Sorted(maps.Keys(r.nodes))
	if i := slices.Index(names, first); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, first)
	}
	for _, name := range names {
		known := r.nodes[name]
		if !include(name) || len(known.facts) == 0 {
			continue
		}
		part := record{node: name, epoch: known.epoch}
		for _, key := range slices.SortedFunc(maps.Keys(known.facts), compareEntryKeys) {
			part.entries = append(part.entries, known.facts[key].entry)
		}
		more := message{records: []record{part}}.encode()[1:]
		if len(raw)+len(more) > maxState {
			complete = false
			continue
		}
		raw = append(raw, more...)
	}
	return raw, complete
}

func compareEntryKeys(a, b entryKey) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.upstream, b.upstream))
}

func compareDecisionKeys(a, b decisionKey) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.target, b.target))
}
