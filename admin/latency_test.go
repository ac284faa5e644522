package admin

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLatencyIsTheTimeOfNineInTen(t *testing.T) {
	const second = time.Second
	type answer struct {
		after, took time.Duration // after the one before
		times       int
	}
	for name, tc := range map[string]struct {
		answers []answer
		wait    time.Duration
		want    []float64
	}{
		"nothing yet":                            {nil, time.Minute, nil},
		"the interval that goes on is not shown": {[]answer{{0, 10 * time.Millisecond, 3}}, 4 * second, nil},
		"one slow answer in ten does not count":  {[]answer{{0, 10 * time.Millisecond, 18}, {0, 2 * second, 2}}, 5 * second, []float64{10.3}},
		"two slow answers in ten do":             {[]answer{{0, 10 * time.Millisecond, 16}, {0, 2 * second, 4}}, 5 * second, []float64{2097.2}},
		"intervals without an answer are 0":      {[]answer{{0, time.Millisecond, 1}, {15 * second, 3 * time.Millisecond, 1}}, 10 * second, []float64{1.1, 0, 0, 3.1, 0}},
		"what took no time was something":        {[]answer{{0, 0, 1}, {0, -second, 1}}, 5 * second, []float64{.1}},
		"an hour is a long time":                 {[]answer{{0, time.Hour, 1}}, 5 * second, []float64{67108.9}},
		"five minutes later it is forgotten":     {[]answer{{0, second, 1}}, 5 * time.Minute, nil},
		"a quarter of an hour later, too":        {[]answer{{0, second, 1}, {15 * time.Minute, time.Millisecond, 1}}, 5 * second, []float64{1.1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMetrics(Build{})
				m.SetUpstreams("prod", []string{"a"})
				u := m.Upstream("prod", "a")
				for _, a := range tc.answers {
					time.Sleep(a.after)
					for range a.times {
						u.FirstByte(a.took)
					}
				}
				time.Sleep(tc.wait)
				if d := cmp.Diff(tc.want, u.Latency()); d != "" {
					t.Error(d)
				}
			})
		})
	}
	if got := NewMetrics(Build{}).Upstream("prod", "gone").Latency(); got != nil {
		t.Errorf("an upstream that is gone has %v", got)
	}
}

func TestLatencySurvivesAClockThatIsSetBack(t *testing.T) {
	var l latency
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	l.observe(at, time.Second)
	l.observe(at.Add(-time.Millisecond), time.Second) // taken before, and late
	if l.total != 2 {
		t.Errorf("%d answers in the interval, want 2", l.total)
	}
	l.observe(at.Add(-time.Hour), time.Second)
	if l.total != 1 || l.current != at.Add(-time.Hour).UnixNano()/int64(LatencyInterval) {
		t.Errorf("%d answers in interval %d, want one in that of an hour before", l.total, l.current)
	}
}

func TestEveryBucketHoldsWhatIsBelowItsBound(t *testing.T) {
	last := -1
	for us := uint64(1); us < 1<<27; us += 1 + us/64 {
		i := latencyBucket(time.Duration(us) * time.Microsecond)
		if i < last || i > last+1 && last >= 0 {
			t.Fatalf("%d µs is in bucket %d, after %d", us, i, last)
		}
		last = i
		if bound := latencyBound(i); i < latencyBuckets-1 && (us >= bound || us > 8 && bound > us+us/4+1) {
			t.Fatalf("%d µs is in a bucket whose bound is %d", us, bound)
		}
	}
	if last != latencyBuckets-1 {
		t.Errorf("the last bucket is %d, want %d", last, latencyBuckets-1)
	}
}

func TestFirstByteDoesNotAllocate(t *testing.T) {
	m := NewMetrics(Build{})
	m.SetUpstreams("prod", []string{"a"})
	u := m.Upstream("prod", "a")
	if n := testing.AllocsPerRun(100, func() { u.FirstByte(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFirstByte(b *testing.B) {
	m := NewMetrics(Build{})
	m.SetUpstreams("prod", []string{"a"})
	u := m.Upstream("prod", "a")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u.FirstByte(time.Millisecond)
		}
	})
}
