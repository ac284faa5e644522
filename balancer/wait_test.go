package balancer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitIsWoken(t *testing.T) {
	for _, test := range []struct {
		name string
		wake func(p *Pool[string])
	}{
		{"READY", func(p *Pool[string]) { p.SetClass("b", Ready) }},
		{"SUSPECT", func(p *Pool[string]) { p.SetClass("a", Suspect) }},
		{"DEGRADED", func(p *Pool[string]) { p.SetClass("b", Degraded) }},
		{"a new member", func(p *Pool[string]) { p.Set(testMembers(Down, Misconfigured, Ready)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newTestPool(PolicySticky, Down, Misconfigured)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				woken := make(chan bool, 3)
				for range cap(woken) {
					go func() { woken <- p.Wait(ctx) }()
				}
				pass(time.Second)
				p.Drain("a", true) // a change, but none for the better
				p.SetClass("a", Misconfigured)
				pass(time.Millisecond)
				equal(t, "woken", len(woken), 0)
				start := time.Now()
				test.wake(p)
				for range cap(woken) {
					equal(t, "Wait", <-woken, true)
				}
				equal(t, "took", time.Since(start), time.Duration(0))
			})
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(PolicySticky, Down)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		equal(t, "Wait", p.Wait(ctx), false)
		equal(t, "took", time.Since(start), 2*time.Second)
		p.SetClass("a", Ready)
		equal(t, "Wait for what is there, too late", p.Wait(ctx), false)
		equal(t, "Wait for what is there", p.Wait(t.Context()), true)
	})
}

func TestWhoWaitsSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := 0
		p := NewPool[string](DefaultConfig(), Options{StillWaiting: func() { said++ }})
		p.Set(testMembers(Down))
		ctx, cancel := context.WithTimeout(t.Context(), 2100*time.Millisecond)
		defer cancel()
		equal(t, "Wait", p.Wait(ctx), false)
		equal(t, "said in 2.1 s", said, 8)
		p.Set(testMembers(Ready))
		equal(t, "Wait for what is there", p.Wait(t.Context()), true)
		equal(t, "said afterwards", said, 8)
	})
}

func TestWaitersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool[string](DefaultConfig(), Options{})
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan bool, 1000)
		for range 1000 {
			go func() { results <- p.Wait(ctx) }()
		}
		synctest.Wait()
		equal(t, "one too many", p.Wait(ctx), false)
		equal(t, "the others", len(results), 0)
		cancel()
		for range 1000 {
			equal(t, "Wait", <-results, false)
		}

		// Their places are free again.
		go func() { results <- p.Wait(t.Context()) }()
		synctest.Wait()
		p.Set(testMembers(Ready))
		equal(t, "Wait", <-results, true)
	})
}
