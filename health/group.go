package health

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are a group's callbacks; each may be nil. None is called under a lock.
type Options struct {
	// OnTransition gets each change of state, in order per target, from the
	// target's goroutine: while it runs, that target is not probed.
	OnTransition func(Transition)
	// OnProbe gets each finished probe of the configured path, likewise.
	OnProbe func(id string, r Result)
	// OnTrouble gets what is wrong with the cluster rather than with one API
	// server, such as "all API servers fail readyz check [etcd]", each time that
	// it changes, from the goroutine of Run; "" when nothing is any more.
	OnTrouble func(trouble string)
}

// Group watches the upstreams of one cluster. All methods are safe for
// concurrent use.
type Group struct {
	config  Config
	prober  Prober
	options Options
	jitter  func() float64 // in [0,1)

	running atomic.Bool
	mu      sync.Mutex // serialises Set
	roster  atomic.Pointer[roster]
	changed chan struct{} // cap 1: the roster is new
	sampled chan struct{} // cap 1: a target has a new answer
	trouble string        // what OnTrouble was last told; Run's alone
}

// roster is the immutable set of targets, in the order of Set.
type roster struct {
	byID map[string]*watcher
	list []*watcher
}

// NewGroup returns a group without targets. Nothing is probed before Run.
func NewGroup(cfg Config, p Prober, opts Options) *Group {
	g := &Group{
		config:  cfg.withDefaults(),
		prober:  p,
		options: opts,
		jitter:  rand.Float64,
		changed: make(chan struct{}, 1),
		sampled: make(chan struct{}, 1),
	}
	g.roster.Store(&roster{})
	return g
}

// Run probes until ctx is done, then waits for its goroutines and returns nil.
// It returns an error at once if the group runs already.
func (g *Group) Run(ctx context.Context) error {
	if !g.running.CompareAndSwap(false, true) {
		return errors.New("health: group runs already")
	}
	defer g.running.Store(false)

	r := newRunner(g)
	defer r.all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.reconcile(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.changed:
			r.reconcile(ctx)
			g.assess()
		case <-g.sampled:
			g.assess()
		}
	}
}

// Set replaces the targets. One whose ID and URL stay keeps its state; of two
// with one ID, the first counts.
func (g *Group) Set(targets []Target) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.roster.Load()
	next := &roster{byID: make(map[string]*watcher, len(targets))}
	now := time.Now()
	for _, t := range targets {
		if next.byID[t.ID] != nil {
			continue
		}
		w := old.byID[t.ID]
		if w == nil || address(w.target.URL) != address(t.URL) {
			w = newWatcher(g, t, now)
		}
		next.byID[t.ID] = w
		next.list = append(next.list, w)
	}
	g.roster.Store(next)
	signal(g.changed)
}

// ProbeNow probes one target now, or all of them for "". It never blocks; calls
// within a tenth of a second of a probe's start share the next one.
func (g *Group) ProbeNow(id string) {
	r := g.roster.Load()
	if id == "" {
		for _, w := range r.list {
			w.probeNow()
		}
		return
	}
	if w := r.byID[id]; w != nil {
		w.probeNow()
	}
}

// State returns the state of a target; Down for one that is not in the group.
func (g *Group) State(id string) State {
	if w := g.roster.Load().byID[id]; w != nil {
		return w.published.Load().status.State
	}
	return Down
}

// Status returns the status of a target; ok is false if it is not in the group.
func (g *Group) Status(id string) (s Status, ok bool) {
	w := g.roster.Load().byID[id]
	if w == nil {
		return Status{}, false
	}
	return w.published.Load().status, true
}

// Snapshot returns the status of all targets, in the order of Set.
func (g *Group) Snapshot() []Status {
	r := g.roster.Load()
	all := make([]Status, len(r.list))
	for i, w := range r.list {
		all[i] = w.published.Load().status
	}
	return all
}

// view collects what the other targets show.
func (g *Group) view(self *watcher) view {
	var v view
	for _, w := range g.roster.Load().list {
		if w == self {
			continue
		}
		p := w.published.Load()
		v.usable = v.usable || p.status.State.usable()
		if p.answer.kind != Unprobed {
			v.peers = append(v.peers, p.answer)
		}
	}
	return v
}

// wakeOthers probes all but self, so that their answers are as fresh as its own.
func (g *Group) wakeOthers(self *watcher) {
	for _, w := range g.roster.Load().list {
		if w != self {
			w.probeNow()
		}
	}
}

// assess works out the trouble that all targets share.
func (g *Group) assess() {
	r := g.roster.Load()
	answers := make([]answer, 0, len(r.list))
	for _, w := range r.list {
		if a := w.published.Load().answer; a.kind != Unprobed {
			answers = append(answers, a)
		}
	}
	now := commonTrouble(strings.TrimPrefix(g.config.Path, "/"), answers, len(r.list))
	if g.trouble == now {
		return
	}
	g.trouble = now
	if g.options.OnTrouble != nil {
		g.options.OnTrouble(now)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
