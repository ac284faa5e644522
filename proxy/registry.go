package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Causes with which the registry ends an attempt.
var (
	errAbandoned = errors.New("the API server stopped answering")
	errCut       = errors.New("the API server is down")
	errDraining  = errors.New("kuberelay is shutting down")

	errDrainedUpstream = &EndedError{CloseDrain, "an operator drains the API server"}
	errReplacedCluster = &EndedError{CloseReload, "a reload changed the cluster's settings"}
)

// phase is how far an attempt has come.
type phase uint8

const (
	phaseIdle    phase = iota // no attempt is under way
	phaseWaiting              // sent, or being sent; no response headers yet
	phaseStream               // response headers are here; the body, or a tunnel, is passing
)

// streamPace is how many streams a second are cut when their server goes
// DOWN, so that its clients do not all arrive at the other servers at once
// (kubernetes#107781 limits the API server's own shutdown the same way).
const streamPace = 200

// Registry knows every request in flight: a server's death, a drain and a
// shutdown each end those that they concern. The zero value is ready.
type Registry struct {
	shards [16]registryShard
	next   atomic.Uint32
}

type registryShard struct {
	mu    sync.Mutex
	first *Flight
	count int
	_     [40]byte // one shard a cache line
}

// Flight is one client request in flight, over all its attempts.
type Flight struct {
	shard      *registryShard
	prev, next *Flight

	kind  string // as Recorder.Begin gets it
	owner any    // Options.Owner
	// cluster is what the request is for.
	cluster *Cluster
	caller  *Caller                 // of a shared listener; nil: of a single one
	end     context.CancelCauseFunc // ends the whole request; nil where caller is

	mu       sync.Mutex
	phase    phase
	upstream *Upstream
	since    time.Time // of the phase
	resend   bool      // the attempt may be abandoned and sent elsewhere
	stream   bool      // a watch, a followed log or a tunnel
	cancel   context.CancelCauseFunc
	drain    func(error) // ends a stream at its next frame boundary; nil: it cannot
}

// Add registers a flight; [Flight.End] takes it out again.
func (r *Registry) Add(f *Flight) {
	s := &r.shards[r.next.Add(1)%uint32(len(r.shards))]
	f.shard = s
	s.mu.Lock()
	f.next = s.first
	if s.first != nil {
		s.first.prev = f
	}
	s.first = f
	s.count++
	s.mu.Unlock()
}

// End takes the flight out of its registry.
func (f *Flight) End() {
	s := f.shard
	s.mu.Lock()
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		s.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.prev, f.next = nil, nil
	s.count--
	s.mu.Unlock()
}

// attempt notes that the request is on its way to an upstream.
func (f *Flight) attempt(u *Upstream, resend bool, cancel context.CancelCauseFunc) {
	now := time.Now()
	f.mu.Lock()
	f.phase, f.upstream, f.since, f.resend, f.cancel = phaseWaiting, u, now, resend, cancel
	f.mu.Unlock()
}

// streaming notes that response headers are here. drain, which may be nil,
// ends the stream cleanly.
func (f *Flight) streaming(stream bool, drain func(error)) {
	f.mu.Lock()
	f.phase, f.stream, f.drain = phaseStream, stream, drain
	f.mu.Unlock()
}

// canceller returns what ends the attempt that is under way.
func (f *Flight) canceller() context.CancelCauseFunc {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cancel
}

// idle notes that the attempt is over.
func (f *Flight) idle() {
	f.mu.Lock()
	f.phase, f.upstream, f.cancel, f.drain = phaseIdle, nil, nil, nil
	f.mu.Unlock()
}

// Len returns the number of requests in flight.
func (r *Registry) Len() int {
	n := 0
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		n += s.count
		s.mu.Unlock()
	}
	return n
}

// Counts returns the number of requests in flight by kind, as [Recorder] gets it.
func (r *Registry) Counts() map[string]int {
	counts := make(map[string]int)
	r.each(func(f *Flight) { counts[f.kind]++ })
	return counts
}

// each calls do for every flight, with the flight locked.
func (r *Registry) each(do func(*Flight)) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for f := s.first; f != nil; f = f.next {
			f.mu.Lock()
			do(f)
			f.mu.Unlock()
		}
		s.mu.Unlock()
	}
}

// Stalled returns the upstreams from which a request has been waiting for
// response headers for longer than the given time.
func (r *Registry) Stalled(longer time.Duration) []*Upstream {
	var stalled []*Upstream
	before := time.Now().Add(-longer)
	r.each(func(f *Flight) {
		if f.phase == phaseWaiting && !f.since.After(before) && !slices.Contains(stalled, f.upstream) {
			stalled = append(stalled, f.upstream)
		}
	})
	return stalled
}

// Review asks judge about each request of a shared listener, and ends those for
// which it returns an error, which is an [*EndedError]. It returns how many it
// has ended. This is how a revocation, a reload or an expiry ends requests in
// flight.
func (r *Registry) Review(judge func(*Caller) error) (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for f := s.first; f != nil; f = f.next {
			if f.caller == nil {
				continue
			}
			if err := judge(f.caller); err != nil {
				f.end(err)
				n++
			}
		}
		s.mu.Unlock()
	}
	return n
}

// EndAnonymous ends what an owner's single listener has in flight, once that is
// removed or has become a shared one: nobody was identified for those requests.
func (r *Registry) EndAnonymous(owner any, err *EndedError) {
	r.each(func(f *Flight) {
		if f.caller == nil && f.owner == owner && f.phase != phaseIdle {
			f.cancel(err)
		}
	})
}

// Uses reports whether a request to the cluster is in flight.
func (r *Registry) Uses(c *Cluster) (uses bool) {
	r.each(func(f *Flight) { uses = uses || f.cluster == c })
	return uses
}

// EndCluster ends what is in flight to a cluster.
func (r *Registry) EndCluster(c *Cluster, err *EndedError) {
	r.each(func(f *Flight) {
		switch {
		case f.cluster != c:
		case f.end != nil:
			f.end(err)
		case f.phase != phaseIdle:
			f.cancel(err)
		}
	})
}

// is reports whether a flight's attempt is at the upstream.
func (f *Flight) is(cluster, id string) bool {
	return f.phase != phaseIdle && f.upstream.ID == id && f.upstream.Cluster == cluster
}

// Abandon ends the attempts that wait for response headers from the upstream
// and may be sent elsewhere, and returns how many there were.
func (r *Registry) Abandon(cluster, id string) (n int) {
	r.each(func(f *Flight) {
		if f.phase == phaseWaiting && f.resend && f.is(cluster, id) {
			f.cancel(errAbandoned)
			n++
		}
	})
	return n
}

// Cut ends everything that is in flight to the upstream: short requests at
// once, streams at 200 a second. It returns when all are told, or when ctx ends.
func (r *Registry) Cut(ctx context.Context, cluster, id string) {
	var streams []context.CancelCauseFunc
	r.each(func(f *Flight) {
		switch {
		case !f.is(cluster, id):
		case f.phase == phaseStream && f.stream:
			streams = append(streams, f.cancel)
		default:
			f.cancel(errCut)
		}
	})
	paced(ctx, streams, func(cancel context.CancelCauseFunc) { cancel(errCut) })
}

// Leave ends the watches and followed logs at an upstream, each at its next
// frame boundary and at 200 a second, so that they begin anew elsewhere. What
// else is in flight there goes on to its end. It returns when all are told, or
// when ctx ends.
func (r *Registry) Leave(ctx context.Context, cluster, id string) {
	var streams []func(error)
	r.each(func(f *Flight) {
		if f.phase == phaseStream && f.drain != nil && f.is(cluster, id) {
			streams = append(streams, f.drain)
		}
	})
	paced(ctx, streams, func(drain func(error)) { drain(errDrainedUpstream) })
}

// LeaveCluster is [Registry.Leave] for all upstreams of a cluster that a reload
// has replaced or removed; not for those of the one that has its name now.
func (r *Registry) LeaveCluster(ctx context.Context, c *Cluster) {
	var streams []func(error)
	r.each(func(f *Flight) {
		if f.phase == phaseStream && f.drain != nil && f.cluster == c {
			streams = append(streams, f.drain)
		}
	})
	paced(ctx, streams, func(drain func(error)) { drain(errReplacedCluster) })
}

// paced calls end with each of the streams, 200 a second.
func paced[S any](ctx context.Context, streams []S, end func(S)) {
	if len(streams) == 0 {
		return
	}
	const perTick = 10
	tick := time.NewTicker(time.Second * perTick / streamPace)
	defer tick.Stop()
	for i, stream := range streams {
		if i > 0 && i%perTick == 0 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		end(stream)
	}
}

// Drain asks every stream that has frames to end at its next frame boundary.
// Short requests and tunnels go on.
func (r *Registry) Drain() {
	r.each(func(f *Flight) {
		if f.phase == phaseStream && f.drain != nil {
			f.drain(errDraining)
		}
	})
}

// Abort ends everything that is in flight.
func (r *Registry) Abort() {
	r.each(func(f *Flight) {
		if f.phase != phaseIdle {
			f.cancel(errDraining)
		}
	})
}
