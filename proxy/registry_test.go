package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// flown is a flight in a registry with the context of its attempt.
type flown struct {
	Flight
	ctx context.Context
}

func fly(r *Registry, u *Upstream, resend bool) *flown {
	f := &flown{}
	ctx, cancel := context.WithCancelCause(context.Background())
	f.ctx = ctx
	r.Add(&f.Flight)
	f.attempt(u, resend, cancel)
	return f
}

func (f *flown) cause() error { return context.Cause(f.ctx) }

func TestStalledFindsWhoWaitsForHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		slow, fast := &Upstream{ID: "slow"}, &Upstream{ID: "fast"}
		waiting := fly(&r, slow, true)
		streaming := fly(&r, fast, true)
		streaming.streaming(true, nil)
		<-time.After(400 * time.Millisecond)
		if got := r.Stalled(500 * time.Millisecond); len(got) != 0 {
			t.Errorf("after 400 ms: %v, want none", got)
		}
		again := fly(&r, slow, true)
		<-time.After(100 * time.Millisecond)
		if got := r.Stalled(500 * time.Millisecond); len(got) != 1 || got[0] != slow {
			t.Errorf("after 500 ms: %v, want the slow one, once", got)
		}
		for _, f := range []*flown{waiting, streaming, again} {
			f.idle()
			f.End()
		}
		if r.Len() != 0 || len(r.Stalled(0)) != 0 {
			t.Errorf("%d flights left", r.Len())
		}
	})
}

func TestAbandonEndsOnlyWhatMayGoElsewhere(t *testing.T) {
	var r Registry
	hung, other := &Upstream{ID: "hung"}, &Upstream{ID: "other"}
	read, write, elsewhere, stream := fly(&r, hung, true), fly(&r, hung, false), fly(&r, other, true), fly(&r, hung, true)
	stream.streaming(true, nil)
	if n := r.Abandon("", "hung"); n != 1 {
		t.Errorf("%d abandoned, want 1", n)
	}
	if !errors.Is(read.cause(), errAbandoned) {
		t.Errorf("the read: %v, want it abandoned", read.cause())
	}
	for name, f := range map[string]*flown{"write": write, "elsewhere": elsewhere, "stream": stream} {
		if f.cause() != nil {
			t.Errorf("%s ended with %v", name, f.cause())
		}
	}
}

func TestCutPacesStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		down, other := &Upstream{ID: "down"}, &Upstream{ID: "other"}
		short, elsewhere := fly(&r, down, false), fly(&r, other, true)
		var streams []*flown
		for range 100 {
			s := fly(&r, down, true)
			s.streaming(true, nil)
			streams = append(streams, s)
		}
		begun := time.Now()
		r.Cut(t.Context(), "", "down")
		if took := time.Since(begun); took < 400*time.Millisecond || took > 600*time.Millisecond {
			t.Errorf("100 streams were cut within %v, want 200 a second", took)
		}
		if !errors.Is(short.cause(), errCut) || elsewhere.cause() != nil {
			t.Errorf("short request: %v, elsewhere: %v", short.cause(), elsewhere.cause())
		}
		for i, s := range streams {
			if !errors.Is(s.cause(), errCut) {
				t.Errorf("stream %d: %v, want it cut", i, s.cause())
			}
		}
	})
}

func TestDrainAsksStreamsAndLeavesTheRest(t *testing.T) {
	var r Registry
	u := &Upstream{ID: "u"}
	asked := 0
	watch, tunnel, short := fly(&r, u, true), fly(&r, u, false), fly(&r, u, true)
	watch.streaming(true, func(error) { asked++ })
	tunnel.streaming(true, nil)
	r.Drain()
	if asked != 1 || tunnel.cause() != nil || short.cause() != nil {
		t.Errorf("asked %d watches; tunnel %v, short %v", asked, tunnel.cause(), short.cause())
	}
	r.Abort()
	for name, f := range map[string]*flown{"watch": watch, "tunnel": tunnel, "short": short} {
		if !errors.Is(f.cause(), errDraining) {
			t.Errorf("%s after Abort: %v", name, f.cause())
		}
	}
}

func BenchmarkRegistry(b *testing.B) {
	var r Registry
	u := &Upstream{ID: "u"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var f Flight
		for pb.Next() {
			r.Add(&f)
			f.attempt(u, true, nil)
			f.streaming(false, nil)
			f.idle()
			f.End()
		}
	})
}

func TestReviewEndsWhatIsNotAllowedAnyMore(t *testing.T) {
	var r Registry
	u := &Upstream{ID: "u"}
	of := func(name string) (*flown, context.Context) {
		ctx, end := context.WithCancelCause(context.Background())
		f := &flown{}
		f.caller, f.end = &Caller{Client: &Client{Name: name}}, end
		r.Add(&f.Flight)
		return f, ctx
	}
	alice, aliceCtx := of("alice")
	idle, idleCtx := of("alice") // between two attempts
	bob, bobCtx := of("bob")
	single := fly(&r, u, true)
	alice.attempt(u, false, func(error) {})
	bob.attempt(u, false, func(error) {})

	n := r.Review(func(c *Caller) error {
		if c.Client.Name == "alice" {
			return NewEndedError(CloseRevoked, "revoked")
		}
		return nil
	})
	for name, c := range map[string]struct {
		ctx  context.Context
		want bool
	}{"alice's attempt": {aliceCtx, true}, "alice's request between attempts": {idleCtx, true}, "bob's": {bobCtx, false}, "a single listener's": {single.ctx, false}} {
		if ended := endedError(c.ctx) != nil; ended != c.want {
			t.Errorf("%s ended: %t, want %t", name, ended, c.want)
		}
	}
	if n != 2 {
		t.Errorf("%d ended, want 2", n)
	}
	idle.End()
	alice.End()
	bob.End()
}

func TestLeaveEndsWatchesOfOneServerOfOneCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		here, elsewhere, other := &Upstream{Cluster: "a", ID: "1"}, &Upstream{Cluster: "a", ID: "2"}, &Upstream{Cluster: "b", ID: "1"}
		told := make(map[*Upstream]int)
		for _, u := range []*Upstream{here, elsewhere, other} {
			for range 25 {
				fly(&r, u, true).streaming(true, func(err error) {
					if !errors.Is(err, errDrainedUpstream) {
						t.Errorf("ended with %v", err)
					}
					told[u]++
				})
			}
			fly(&r, u, true) // a short request goes on
		}
		start := time.Now()
		r.Leave(t.Context(), "a", "1")
		if told[here] != 25 || told[elsewhere] != 0 || told[other] != 0 {
			t.Errorf("told %d, %d on another server, %d in another cluster; want 25, 0, 0", told[here], told[elsewhere], told[other])
		}
		if took := time.Since(start); took < 100*time.Millisecond || took > time.Second {
			t.Errorf("25 streams at 200 a second took %v", took)
		}
	})
}

// TestDrainOfAListenerLeavesTheStreamsOfOthers: all listeners share a registry.
func TestDrainOfAListenerLeavesTheStreamsOfOthers(t *testing.T) {
	var r Registry
	f := fly(&r, &Upstream{ID: "u"}, true)
	f.streaming(true, func(err error) { t.Errorf("another listener's stream was ended: %v", err) })
	NewHandler(Options{Listener: "removed", Registry: &r}).Drain()
}
