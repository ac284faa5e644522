package admin

import (
	"math"
	"math/bits"
	"sync"
	"time"
)

// LatencyInterval is the time that each figure of [UpstreamMetrics.Latency]
// covers.
const LatencyInterval = 5 * time.Second

const (
	// latencyPoints intervals are five minutes.
	latencyPoints = 60

	// A bucket is a quarter of a power of two of microseconds, so a figure is
	// at most a quarter too high. The last one is 59 s and more: the API
	// server's own limit for short requests is 60 s.
	latencySub     = 4
	latencyBuckets = 24 * latencySub
)

// latency is the recent history of an upstream's time to the first byte. It is on
// the path of every request: observe takes a lock that is hardly ever contended,
// adds one, and allocates nothing.
type latency struct {
	mu      sync.Mutex
	counts  [latencyBuckets]uint32 // guarded by mu; of the current interval
	total   uint32                 // guarded by mu; the sum of counts
	current int64                  // guarded by mu; the current interval's number, 0 before the first
	ring    [latencyPoints]float32 // guarded by mu; by number modulo its length; in milliseconds
}

func (l *latency) observe(now time.Time, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	l.counts[latencyBucket(took)]++
	l.total++
}

// turn closes the current interval if it is over. l.mu is held.
func (l *latency) turn(now time.Time) {
	number := now.UnixNano() / int64(LatencyInterval)
	switch {
	case number == l.current || number == l.current-1: // or a moment before, seen late
		return
	case number < l.current || number-l.current > latencyPoints: // the clock was set back, or it was quiet for long
		l.ring = [latencyPoints]float32{}
	default:
		l.ring[l.current%latencyPoints] = l.quantile()
		for n := l.current + 1; n < number; n++ {
			l.ring[n%latencyPoints] = 0
		}
	}
	l.counts, l.total, l.current = [latencyBuckets]uint32{}, 0, number
	l.ring[number%latencyPoints] = 0
}

// quantile is the time, in milliseconds, within which nine of ten answers began;
// 0 if there was none.
func (l *latency) quantile() float32 {
	rest := l.total / 10 // as many may be slower
	for i := latencyBuckets - 1; i >= 0 && l.total > 0; i-- {
		if l.counts[i] > rest {
			return float32(latencyBound(i)) / 1000
		}
		rest -= l.counts[i]
	}
	return 0
}

// latencyBucket is by the highest bit of the microseconds and the two below.
func latencyBucket(took time.Duration) int {
	us := uint64(max(took.Microseconds(), latencySub)) // lower ones have no two bits below
	high := bits.Len64(us) - 1
	return min((high-2)*latencySub+int(us>>(high-2))-latencySub, latencyBuckets-1)
}

// latencyBound is the upper bound of a bucket, in microseconds.
func latencyBound(i int) uint64 {
	return uint64(latencySub+i%latencySub+1) << (i / latencySub)
}

// Latency returns how long the upstream's answers took to begin, over the last
// five minutes: for each 5 s the time in milliseconds within which nine of ten
// began, 0 where there was none. The oldest comes first, the current interval is
// not included, and leading zeros are left out.
func (u *UpstreamMetrics) Latency() []float64 {
	if u == nil {
		return nil
	}
	l := &u.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(time.Now())
	var points []float64
	for n := l.current - latencyPoints + 1; n < l.current; n++ {
		if ms := float64(l.ring[(n+latencyPoints)%latencyPoints]); ms > 0 || len(points) > 0 {
			points = append(points, math.Ceil(ms*10)/10)
		}
	}
	return points
}
