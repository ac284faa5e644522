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
