package health

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	livezPath = "/livez"
	// pingPath answers without asking etcd. When etcd hangs, /readyz and /livez
	// can be as silent as those of a hung process.
	pingPath = "/livez/ping"

	// Every freshEvery-th probe dials anew, which finds a dead listener or an
	// expired certificate behind a connection that still works.
	freshEvery = 10

	// probeGap is the least time between the starts of two probes that were
	// asked for, however many ask.
	probeGap = 100 * time.Millisecond
)

// watcher is one target with the goroutine that owns its state machine.
type watcher struct {
	group  *Group
	target Target

	wake      chan struct{} // cap 1: the inbox is not empty
	lastPass  atomic.Int64  // Unix nanoseconds of a proxied success
	published atomic.Pointer[published]
	mu        sync.Mutex
	in        inbox // guarded by mu

	// The rest belongs to the goroutine.
	machine  machine
	probes   int
	started  time.Time // of the latest probe
	inFlight bool
	due      time.Time // of the next probe, unless one is in flight
	again    bool      // another probe was asked for while one was in flight
	fresh    bool      // the next probe must dial
	silent   bool      // the latest probe had no answer in time
	observed bool      // a passive sample was counted since the latest probe's end
	status   Status
	answer   answer
}

// published is what other goroutines see of a watcher; immutable.
type published struct {
	status Status
	answer answer
}

// outcome is what a finished probe sends to the watcher's goroutine.
type outcome struct {
	liveness bool // of /livez
	result   Result
	answered bool // timed out, but pingPath was answered meanwhile
}

func newWatcher(g *Group, t Target, now time.Time) *watcher {
	w := &watcher{
		group:   g,
		target:  t,
		wake:    make(chan struct{}, 1),
		machine: newMachine(t, g.config, now),
		status:  Status{ID: t.ID, URL: address(t.URL)},
	}
	w.publish()
	return w
}

// run probes until ctx is done, and leaves no probe behind.
func (w *watcher) run(ctx context.Context) {
	outcomes := make(chan outcome)
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer func() {
		if w.inFlight {
			<-outcomes
			w.inFlight = false
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			if w.absorb() {
				timer.Reset(time.Until(w.due))
			}
		case <-timer.C:
			if !w.inFlight {
				w.probe(ctx, outcomes)
			}
		case o := <-outcomes:
			w.inFlight = false
			if ctx.Err() != nil {
				return
			}
			if w.finish(ctx, o, outcomes) {
				timer.Reset(time.Until(w.due))
			}
		}
	}
}

// probe asks for the configured path in a goroutine that ends with the answer.
func (w *watcher) probe(ctx context.Context, outcomes chan<- outcome) {
	path := w.group.config.Path
	fresh := w.fresh || w.machine.state != Ready || w.probes%freshEvery == 0
	w.fresh, w.again = false, false
	w.probes++
	w.started = time.Now()
	w.inFlight = true
	// After a silent probe, find out whether the process or only a check hangs.
	silent := w.silent
	go func() {
		ctx, cancel := context.WithTimeout(ctx, w.group.config.Timeout)
		defer cancel()
		ping := make(chan bool, 1)
		if silent {
			go func() { ping <- w.group.prober.Probe(ctx, w.target, pingPath, fresh).Code != 0 }()
		}
		o := outcome{result: w.group.prober.Probe(ctx, w.target, path, fresh)}
		if silent {
			if o.result.Kind != Timeout {
				cancel()
			}
			o.answered = <-ping && o.result.Kind == Timeout
		}
		outcomes <- o
	}()
}

// probeLiveness asks for /livez after an answer that says not ready.
func (w *watcher) probeLiveness(ctx context.Context, outcomes chan<- outcome) {
	w.inFlight = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, w.group.config.Timeout)
		defer cancel()
		outcomes <- outcome{liveness: true, result: w.group.prober.Probe(ctx, w.target, livezPath, false)}
	}()
}

// absorb takes in the inbox and reports whether the next probe is due earlier
// now.
func (w *watcher) absorb() bool {
	in := w.takeInbox()
	now := time.Now()
	for kind := range resultKinds {
		if in.kinds&(1<<kind) == 0 {
			continue
		}
		in.probe = true
		if w.counts(kind, now) {
			w.status.LastError = in.seen[kind]
			w.machine.sample(kind, nil, in.seen[kind], now, now, w.group.view(w))
		}
	}
	w.settle()
	if in.probe && w.inFlight {
		w.again = true
	}
	soon := w.started.Add(probeGap)
	if !in.probe || w.inFlight || !soon.Before(w.due) {
		return false
	}
	w.due = soon
	return true
}

// counts reports whether an observation is a sample. Of those that lead to DOWN
// one counts between two probes: many requests that fail together are one
// failure.
func (w *watcher) counts(kind Observation, now time.Time) bool {
	switch kind {
	case ShuttingDown:
		return true
	case Certificate:
		w.fresh = true
		return true
	case Refused, Unreachable, Reset:
		w.fresh = true // a kept connection would hide it
	case Timeout, Unresolved:
		if w.passing(now) {
			return false
		}
	default:
		return false
	}
	first := !w.observed
	w.observed = true
	return first
}

// finish takes in a probe's outcome and reports whether the next one is planned;
// if not, /livez is asked first.
func (w *watcher) finish(ctx context.Context, o outcome, outcomes chan<- outcome) (planned bool) {
	now := time.Now()
	if o.liveness {
		w.liveness(o.result, now)
		w.plan(now)
		return true
	}
	w.silent = o.result.Kind == Timeout
	w.observed = false
	if w.group.options.OnProbe != nil {
		w.group.options.OnProbe(w.target.ID, o.result)
	}
	r := w.lenient(o, now)
	firstRed := r.Kind == NotReady && w.machine.reds == 0
	reason := w.record(o, r)
	w.sample(o, r, reason, now)
	if firstRed {
		w.group.wakeOthers(w) // so that they can refute it
	}
	if r.Kind == NotReady && !o.answered {
		w.probeLiveness(ctx, outcomes)
		return false
	}
	w.plan(now)
	return true
}

// liveness takes in the answer of /livez.
func (w *watcher) liveness(r Result, now time.Time) {
	w.machine.alive(r.Kind == Pass, r.Reason(livezPath), now, w.group.view(w))
	w.settle()
}

// record keeps what the status and the other watchers are to see of a probe, r
// being its result in the light of what else is known. It returns the reason.
func (w *watcher) record(o outcome, r Result) (reason string) {
	reason = r.Reason(w.group.config.Path)
	if r.CredentialErr != nil {
		reason += " (probed without its credential, which could not be had)"
	}
	w.status.LastProbe = w.started
	if r.Kind != Pass {
		w.status.LastError = reason
	}
	w.answer = answer{}
	switch {
	case r.Kind != o.result.Kind && !o.answered: // requests pass, but the probe has no answer
	case r.Kind == Pass, r.Kind == NotReady, r.Kind == Credential:
		w.answer = answer{started: w.started, kind: r.Kind, checks: r.FailedChecks}
	}
	return reason
}

// sample moves the state machine by a probe, and publishes where it is now.
func (w *watcher) sample(o outcome, r Result, reason string, now time.Time) {
	w.machine.sample(r.Kind, r.FailedChecks, reason, w.started, now, w.group.view(w))
	if r.Kind == Pass && w.machine.state == Ready {
		w.machine.reason = reason
	}
	if r.Kind == NotReady && o.answered {
		w.machine.alive(true, "", now, w.group.view(w))
	}
	w.settle()
	signal(w.group.sampled)
}

// lenient is a probe's result in the light of what else is known: silence is
// not always a failure.
func (w *watcher) lenient(o outcome, now time.Time) Result {
	r := o.result
	switch {
	case (r.Kind == Timeout || r.Kind == Unresolved) && w.passing(now):
		r.Kind, r.Err, r.Note = Pass, nil, "probe without answer, but requests pass"
	case r.Kind == Timeout && o.answered:
		r.Kind = NotReady
		r.Err = fmt.Errorf("answers, but not to %s within %s", w.group.config.Path, w.group.config.Timeout)
	}
	return r
}

// plan sets when the next probe is due.
func (w *watcher) plan(now time.Time) {
	w.due = now.Add(w.machine.next(now, w.group.jitter()))
	if soon := w.started.Add(probeGap); w.again && soon.Before(w.due) {
		w.due = soon
	}
}

// settle publishes the state, then reports the transitions.
func (w *watcher) settle() {
	transitions := w.machine.take()
	w.publish()
	for _, t := range transitions {
		if w.group.options.OnTransition != nil {
			w.group.options.OnTransition(t)
		}
		if !t.To.usable() && !w.group.view(w).usable {
			w.group.wakeOthers(w) // none is left, but one of them may be back
		}
	}
}

func (w *watcher) publish() {
	m := &w.machine
	s := w.status
	s.State, s.Since, s.Reason, s.Cause = m.state, m.since, m.reason, m.cause
	w.published.Store(&published{status: s, answer: w.answer})
}

// address is the URL without its user information and query.
func address(u *url.URL) string {
	if u == nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
