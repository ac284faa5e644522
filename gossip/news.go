package gossip

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"sync"
)

const (
	// Each node sends a piece of news retransmitMult times the decimal
	// logarithm of the number of nodes, rounded up. It is memberlist's default.
	retransmitMult = 4
	// maxQueued bounds the news that waits; each subject waits once.
	maxQueued = 2048
)

// queue holds the news that waits to be sent, each piece until it was sent often
// enough or a newer one of its name takes its place. memberlist's own queue
// (TransmitLimitedQueue) loses news: it counts its IDs from 1 again whenever it
// is empty for a moment, and of two messages of one length, ID and number of
// transmissions it keeps one (v0.7.0).
type queue struct {
	nodes func() int // how many the mesh has, this one included

	mu      sync.Mutex
	waiting map[string]*news // guarded by mu; by name
	last    uint64           // guarded by mu; the order of the latest
}

// news is a message on its way to everybody.
type news struct {
	name  string
	raw   []byte
	sent  int
	order uint64
}

func newQueue(nodes func() int) *queue {
	return &queue{nodes: nodes, waiting: map[string]*news{}}
}

// add queues raw in place of what waits under that name, and returns how many
// others were dropped to make room.
func (q *queue) add(name string, raw []byte) (pruned int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	q.waiting[name] = &news{name: name, raw: raw, order: q.last}
	if len(q.waiting) > maxQueued {
		all := q.sorted()
		for _, n := range all[maxQueued*3/4:] {
			delete(q.waiting, n.name)
			pruned++
		}
	}
	return pruned
}

// take returns news of at most limit bytes in all, overhead included for each
// piece: what was sent least comes first, and of that the newest.
func (q *queue) take(overhead, limit int) [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	enough := retransmitMult * int(math.Ceil(math.Log10(float64(q.nodes()+1))))
	var taken [][]byte
	for _, n := range q.sorted() {
		if size := overhead + len(n.raw); size <= limit {
			limit -= size
			taken = append(taken, n.raw)
			if n.sent++; n.sent >= enough {
				delete(q.waiting, n.name)
			}
		}
	}
	return taken
}

// sorted is called with mu held.
func (q *queue) sorted() []*news {
	all := make([]*news, 0, len(q.waiting))
	for _, n := range q.waiting {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *news) int { return cmp.Or(cmp.Compare(a.sent, b.sent), cmp.Compare(b.order, a.order)) })
	return all
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.waiting)
}

func broadcastName(node string, key entryKey) string {
	return node + "/" + strconv.FormatUint(key.kind, 10) + "/" + key.upstream
}

func decisionName(key decisionKey) string {
	return "/" + strconv.FormatUint(key.kind, 10) + "/" + key.target
}
