package identify

import (
	"math"
	"net/http"
	"testing"
	"time"
)

// TestIdentifyCostsTheSameForAnyNumberOfClients: each kind of evidence is looked
// up, and no client is gone through for it.
func TestIdentifyCostsTheSameForAnyNumberOfClients(t *testing.T) {
	c := newClock()
	m := NewMinter(c.now)
	minted, _ := m.Mint("client-5", 10005, 1<<40)
	certified := request(t, usual...)
	certified.TLS = verified(leaf("client-5", c.now()), leaf("CA", c.now()))
	for name, e := range map[string]struct {
		r *http.Request
		p *Peer
	}{
		"uid":          {request(t, usual...), local(10005)},
		"token":        {request(t, append(usual, bearer(benchmarkToken(5)))...), remote()},
		"minted token": {request(t, append(usual, bearer(minted))...), local(10005)},
		"certificate":  {certified, remote()},
	} {
		t.Run(name, func(t *testing.T) {
			var nanoseconds, allocations [2]float64
			for i, n := range []int{10, 10_000} {
				d := newDirectory(t, thousands(n), Options{Minter: m, Now: c.now})
				identify := func() {
					if _, err := d.Identify(t.Context(), e.r, e.p, everything()); err != nil {
						t.Fatal(err)
					}
				}
				allocations[i] = testing.AllocsPerRun(100, identify)
				nanoseconds[i] = fastest(identify)
			}
			t.Logf("of 10 and of 10,000 clients: %.0f ns and %.0f ns, %.0f and %.0f allocations", nanoseconds[0], nanoseconds[1], allocations[0], allocations[1])
			if allocations[1] > allocations[0] {
				t.Errorf("%.0f allocations among 10,000 clients, %.0f among 10", allocations[1], allocations[0])
			}
			// A look at each of them would take a nanosecond at the very least.
			if nanoseconds[1] > 4*nanoseconds[0] {
				t.Errorf("%.0f ns among 10,000 clients, %.0f ns among 10", nanoseconds[1], nanoseconds[0])
			}
		})
	}
}

// fastest is how many nanoseconds do takes at its best: others use the
// processor, too.
func fastest(do func()) float64 {
	const calls = 200
	best := math.Inf(1)
	for range 100 {
		begin := time.Now()
		for range calls {
			do()
		}
		best = min(best, float64(time.Since(begin).Nanoseconds())/calls)
	}
	return best
}
