package health

import (
	"context"
	"sync"
)

// runner keeps one goroutine for each watcher of a group that runs. It belongs
// to the goroutine of [Group.Run].
type runner struct {
	group  *Group
	all    sync.WaitGroup
	active map[*watcher]task
	ending map[string]chan struct{} // done of what was stopped, by the target's ID
}

// task is a watcher's goroutine.
type task struct {
	cancel context.CancelFunc
	done   chan struct{} // closed at its end
}

func newRunner(g *Group) *runner {
	return &runner{group: g, active: map[*watcher]task{}, ending: map[string]chan struct{}{}}
}

// reconcile stops the goroutines of watchers that are no longer in the roster,
// and starts those of new ones.
func (r *runner) reconcile(ctx context.Context) {
	now := r.group.roster.Load()
	for w, t := range r.active {
		if now.byID[w.target.ID] != w {
			t.cancel()
			delete(r.active, w)
			r.ending[w.target.ID] = t.done
		}
	}
	for id, done := range r.ending {
		select {
		case <-done:
			delete(r.ending, id)
		default:
		}
	}
	for _, w := range now.list {
		if _, runs := r.active[w]; !runs {
			r.start(ctx, w)
		}
	}
}

// start runs a watcher once its predecessor of the same ID has ended, so that
// their transitions come in order.
func (r *runner) start(ctx context.Context, w *watcher) {
	ctx, cancel := context.WithCancel(ctx)
	done, previous := make(chan struct{}), r.ending[w.target.ID]
	r.active[w] = task{cancel, done}
	r.all.Go(func() {
		defer close(done)
		defer cancel()
		if previous != nil {
			<-previous
		}
		w.run(ctx)
		r.group.prober.Forget(w.target.ID)
	})
}
