package health

import "time"

const (
	// passWindow is how long a proxied success stands in for a probe that timed
	// out: load must not evict servers.
	passWindow = time.Second

	// passGrain spares the hot path a store, and the other cores a cache miss,
	// for most successes.
	passGrain = 100 * time.Millisecond
)

// Observe takes in what the data path saw. Refused, Unreachable, Unresolved,
// Reset and Timeout count as one sample until the next probe's end, and start
// that probe at once; ShuttingDown makes the target DEGRADED and Certificate
// MISCONFIGURED at once; Pass is as [Group.ObservePass]. Other kinds only start
// a probe. It never blocks.
func (g *Group) Observe(id string, o Observation) { g.observe(id, o, "") }

// ObserveError is [Group.Observe] for the error of an attempt, whose text
// becomes the reason. A nil error is a Pass.
func (g *Group) ObserveError(id string, err error) {
	kind, reason := classify(err)
	g.observe(id, kind, reason)
}

// ObservePass notes a proxied success at now, in Unix nanoseconds. It costs two
// lookups and, mostly, no store.
func (g *Group) ObservePass(id string, now int64) {
	if w := g.roster.Load().byID[id]; w != nil {
		w.pass(now)
	}
}

func (g *Group) observe(id string, o Observation, reason string) {
	w := g.roster.Load().byID[id]
	switch {
	case w == nil || o >= resultKinds:
	case o == Pass:
		w.pass(time.Now().UnixNano())
	default:
		w.observe(o, reason)
	}
}

// pass may run on any goroutine.
func (w *watcher) pass(now int64) {
	// A clock that was set back stores too.
	if age := now - w.lastPass.Load(); age >= int64(passGrain) || age < 0 {
		w.lastPass.Store(now)
	}
}

// passing reports whether a proxied success is at most passWindow old.
func (w *watcher) passing(now time.Time) bool {
	age := now.UnixNano() - w.lastPass.Load()
	return age >= 0 && age <= int64(passWindow)
}

// inbox is what other goroutines left for a watcher's own.
type inbox struct {
	probe bool
	seen  [resultKinds]string // reason by kind
	kinds uint32              // bit set of seen
}

func (w *watcher) observe(o Observation, reason string) {
	if reason == "" {
		reason = observedReasons[o]
	}
	w.mu.Lock()
	if w.in.kinds&(1<<o) == 0 {
		w.in.kinds |= 1 << o
		w.in.seen[o] = reason
	}
	w.mu.Unlock()
	signal(w.wake)
}

func (w *watcher) probeNow() {
	w.mu.Lock()
	w.in.probe = true
	w.mu.Unlock()
	signal(w.wake)
}

func (w *watcher) takeInbox() inbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.in
	w.in = inbox{}
	return in
}

var observedReasons = [resultKinds]string{
	ShuttingDown: "answers a request with \"shutting down\"",
	Refused:      "connection of a request refused",
	Unreachable:  "unreachable for a request",
	Unresolved:   "host name of a request not resolved",
	Timeout:      "no answer to a request in time",
	Reset:        "connection of a request reset",
	Certificate:  "certificate does not verify on a request's connection",
}
