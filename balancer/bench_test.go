package balancer

import (
	"fmt"
	"testing"
	"time"
)

func benchPool(policy Policy, members int) *Pool[string] {
	c := DefaultConfig()
	c.Policy = policy
	p := NewPool[string](c, Options{})
	set := make([]Member[string], 0, members)
	for i := range members {
		id := fmt.Sprintf("10.0.0.%d:6443", i+1)
		set = append(set, Member[string]{ID: id, Value: id})
	}
	p.Set(set)
	return p
}

func roundTrip(p *Pool[string], r Request, o Outcome) {
	a, _ := p.Pick(r)
	a.Report(o)
	a.Done()
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, policy := range Policies() {
		b.Run(string(policy), func(b *testing.B) {
			p := benchPool(policy, 3)
			r := Request{Key: "0123456789abcdef", Kind: QuorumRead}
			b.ReportAllocs()
			for b.Loop() {
				roundTrip(p, r, Success)
			}
		})
	}
}

// A retry: one member was tried.
func BenchmarkSecondPick(b *testing.B) {
	p := benchPool(PolicySticky, 3)
	r := Request{Key: "0123456789abcdef", Kind: QuorumRead, Tried: []string{"10.0.0.2:6443"}}
	b.ReportAllocs()
	for b.Loop() {
		a, _ := p.Pick(r)
		a.Done()
	}
}

// One failure in a hundred: each failure and the success after it take the
// breaker's lock.
func BenchmarkSomeFailures(b *testing.B) {
	p := benchPool(PolicySticky, 3)
	r := Request{Key: "0123456789abcdef", Kind: CachedRead}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		o := Success
		if n%100 == 0 {
			o = Failure
		}
		roundTrip(p, r, o)
	}
}

func BenchmarkParallel(b *testing.B) {
	for _, keys := range []int{1, 64} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			p := benchPool(PolicySticky, 3)
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprintf("%016x", i)
			}
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for n := 0; pb.Next(); n++ {
					roundTrip(p, Request{Key: names[n%keys], Kind: QuorumRead}, Success)
				}
			})
		})
	}
}

// An identity that was not seen before, each time.
func BenchmarkNewKeys(b *testing.B) {
	p := benchPool(PolicySticky, 3)
	names := make([]string, 1<<16)
	for i := range names {
		names[i] = fmt.Sprintf("%016x", i)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		roundTrip(p, Request{Key: names[n%len(names)], Kind: CachedRead}, Success)
	}
}

func BenchmarkClock(b *testing.B) {
	c := clock{start: time.Now()}
	for b.Loop() {
		c.now()
	}
}
