package balancer

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// retries takes all that the budget has left.
func retries(p *Pool[string]) (n int) {
	for n < 1_000_000 && p.Retry(false) {
		n++
	}
	return n
}

func TestBudget(t *testing.T) {
	for _, test := range []struct {
		name     string
		share    float64
		requests int
		want     int
	}{
		{"a few without any traffic", 0.2, 0, 30},
		{"a fifth of the traffic besides", 0.2, 1000, 230},
		{"none of the traffic", 0, 1000, 30},
		{"as much as the traffic", 1, 1000, 1030},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := DefaultConfig()
				c.Retry.Budget = test.share
				p := NewPool[string](c, Options{})
				p.Set(testMembers(Ready, Ready))
				for range test.requests {
					picked(t, p, Request{Key: "k"})
					picked(t, p, Request{Key: "k", Tried: []string{"a"}}) // not one more request
				}
				equal(t, "retries", retries(p), test.want)
				equal(t, "one more", p.Retry(false), false)
				equal(t, "one that is exempt", p.Retry(true), true)

				pass(9 * time.Second)
				equal(t, "nine seconds later", retries(p), 0)
				pass(time.Second)
				equal(t, "ten seconds later", retries(p), 30)
			})
		})
	}
}

func TestExemptRetriesCostNothing(t *testing.T) {
	p := newTestPool(PolicySticky, Ready)
	for range 1000 {
		if !p.Retry(true) {
			t.Fatal("an exempt retry was refused")
		}
	}
	equal(t, "retries left", retries(p), 30)
}

func TestBudgetIsExactForMany(t *testing.T) {
	b := newBudget(0.2)
	for range 50_000 {
		b.requests.add(0)
	}
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				if b.take(0) {
					taken.Add(1)
				}
			}
		})
	}
	all.Wait()
	equal(t, "taken", taken.Load(), int64(10_030))
}

func TestWindow(t *testing.T) {
	w := newWindow(2500 * time.Millisecond)
	equal(t, "buckets", len(w), 3)
	for _, step := range []struct {
		at   time.Duration
		add  int
		want uint64
	}{
		{0, 2, 2},
		{900 * time.Millisecond, 1, 3},
		{1 * time.Second, 10, 13},
		{2999 * time.Millisecond, 0, 13},
		{3 * time.Second, 0, 10},
		{3 * time.Second, 100, 110},
		{2 * time.Second, 7, 17}, // a clock read before the others', used after
		{0, 5, 0},                // and one that was read long before
		{4 * time.Second, 0, 107},
		{time.Hour, 0, 0},
		{time.Hour, 1, 1},
	} {
		for range step.add {
			w.add(step.at)
		}
		equal(t, fmt.Sprint("sum at ", step.at), w.sum(step.at), step.want)
	}
	w.reset()
	equal(t, "sum after reset", w.sum(time.Hour), uint64(0))
}

// Goroutines that enter a new second together lose no event.
func TestWindowIsExactForMany(t *testing.T) {
	w := newWindow(10 * time.Second)
	for n := range 100 {
		now := time.Duration(n) * time.Second
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 10 {
					w.add(now)
				}
			})
		}
		all.Wait()
		equal(t, "sum", w.sum(now), 80*uint64(min(n+1, 10)))
	}
}
