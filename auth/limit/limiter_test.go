package limit

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// refused checks that a request is refused by the limit of that name.
func refused(t *testing.T, l *Limiter, k Kind, want Exceeded) {
	t.Helper()
	err := l.Admit(k)
	var got *Exceeded
	if !errors.As(err, &got) {
		t.Fatalf("admitted: %v", err)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Fatalf("want -, got +:\n%s", diff)
	}
}

// admitted checks that n requests are not refused.
func admitted(t *testing.T, l *Limiter, k Kind, n int) {
	t.Helper()
	for i := range n {
		if err := l.Admit(k); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}

func TestKindsAreCountedApart(t *testing.T) {
	l := New(Config{MaxInFlight: 3, MaxWatches: 2, MaxUpgrades: 1})
	admitted(t, l, Short, 3)
	admitted(t, l, Watch, 2)
	admitted(t, l, Upgrade, 1)
	refused(t, l, Short, Exceeded{"maxInFlight", 3, 1})
	refused(t, l, Watch, Exceeded{"maxWatches", 2, 5})
	refused(t, l, Upgrade, Exceeded{"maxUpgrades", 1, 5})
	if diff := cmp.Diff(Usage{InFlight: 3, Watches: 2, Upgrades: 1}, l.Usage()); diff != "" {
		t.Error(diff)
	}
	l.Done(Watch)
	refused(t, l, Short, Exceeded{"maxInFlight", 3, 1})
	admitted(t, l, Watch, 1)
	for range 3 {
		l.Done(Short)
	}
	admitted(t, l, Short, 3)
}

func TestZeroIsNoLimit(t *testing.T) {
	l := New(Config{})
	for _, k := range []Kind{Short, Watch, Upgrade} {
		admitted(t, l, k, 10000)
	}
	if diff := cmp.Diff(Usage{10000, 10000, 10000}, l.Usage()); diff != "" {
		t.Error(diff)
	}
}

func TestTheRateIsKeptOnAverageAfterABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{RequestsPerSecond: 5, Burst: 10})
		admitted(t, l, Short, 5)
		admitted(t, l, Watch, 3) // one rate for all kinds
		admitted(t, l, Upgrade, 2)
		refused(t, l, Short, Exceeded{"requestsPerSecond", 5, 1})
		time.Sleep(200 * time.Millisecond)
		admitted(t, l, Short, 1)
		refused(t, l, Short, Exceeded{"requestsPerSecond", 5, 1})
		time.Sleep(time.Hour)
		admitted(t, l, Short, 10)
		refused(t, l, Watch, Exceeded{"requestsPerSecond", 5, 1})
		// What the rate refused is not under way.
		if diff := cmp.Diff(Usage{InFlight: 16, Watches: 3, Upgrades: 2}, l.Usage()); diff != "" {
			t.Error(diff)
		}

		total := 0
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			for l.Admit(Short) == nil {
				total++
			}
		}
		if total != 50 {
			t.Errorf("%d requests in ten seconds, want 50", total)
		}
	})
}

func TestRetryAfterIsWhenTheRateAllowsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{RequestsPerSecond: 0.1, Burst: 1})
		admitted(t, l, Short, 1)
		refused(t, l, Short, Exceeded{"requestsPerSecond", 0.1, 10})
		time.Sleep(5500 * time.Millisecond)
		refused(t, l, Short, Exceeded{"requestsPerSecond", 0.1, 5})
		time.Sleep(5 * time.Second)
		admitted(t, l, Short, 1)

		slow := New(Config{RequestsPerSecond: 1e-12, Burst: 1})
		admitted(t, slow, Short, 1)
		refused(t, slow, Short, Exceeded{"requestsPerSecond", 1e-12, 60})
	})
}

func TestWhatIsRefusedForHowManyThereAreTakesNothingOffTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{RequestsPerSecond: 1, Burst: 2, MaxInFlight: 1})
		admitted(t, l, Short, 1)
		for range 100 {
			refused(t, l, Short, Exceeded{"maxInFlight", 1, 1})
		}
		l.Done(Short)
		admitted(t, l, Short, 1)
		l.Done(Short)
		refused(t, l, Short, Exceeded{"requestsPerSecond", 1, 1})
		if got := l.Usage().InFlight; got != 0 {
			t.Errorf("%d in flight after the rate refused one", got)
		}
	})
}

func TestSetChangesLimitsAndKeepsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		admitted(t, l, Short, 5)
		admitted(t, l, Watch, 5)
		l.Set(Config{RequestsPerSecond: 1, Burst: 3, MaxInFlight: 4, MaxWatches: 6})
		refused(t, l, Short, Exceeded{"maxInFlight", 4, 1})
		l.Done(Short)
		refused(t, l, Short, Exceeded{"maxInFlight", 4, 1})
		l.Done(Short)
		admitted(t, l, Short, 1)
		admitted(t, l, Watch, 1)
		refused(t, l, Watch, Exceeded{"maxWatches", 6, 5})
		admitted(t, l, Upgrade, 1)
		refused(t, l, Upgrade, Exceeded{"requestsPerSecond", 1, 1})

		l.Set(Config{RequestsPerSecond: 1, Burst: 100})
		refused(t, l, Upgrade, Exceeded{"requestsPerSecond", 1, 1}) // a reload gives nothing away
		l.Set(Config{})
		admitted(t, l, Upgrade, 100)
		if diff := cmp.Diff(Usage{InFlight: 4, Watches: 6, Upgrades: 101}, l.Usage()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNeverMoreAtATimeThanAllowedAndNoneIsLost(t *testing.T) {
	const most, workers, rounds = 7, 32, 500
	l := New(Config{MaxInFlight: most, RequestsPerSecond: 1e9, Burst: 1 << 30})
	var now, peak, refusals atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				if l.Usage().InFlight > most {
					t.Error("more in flight than allowed")
				}
				if l.Admit(Short) != nil {
					refusals.Add(1)
					continue
				}
				n := now.Add(1)
				for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
				}
				now.Add(-1)
				l.Done(Short)
			}
		})
	}
	wg.Wait()
	if got := peak.Load(); got > most {
		t.Errorf("%d at a time, allowed are %d", got, most)
	}
	if got := l.Usage(); got != (Usage{}) {
		t.Errorf("%+v are left", got)
	}
	admitted(t, l, Short, most)
	refused(t, l, Short, Exceeded{"maxInFlight", most, 1})
}

func TestLimitsMayChangeWhileRequestsAreCounted(t *testing.T) {
	l := New(DefaultConfig())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				if k := Kind(i % int(kinds)); l.Admit(k) == nil {
					l.Done(k)
				}
			}
		})
	}
	for i := range 200 {
		l.Set(Config{RequestsPerSecond: float64(i), Burst: i + 1, MaxInFlight: i % 3, MaxWatches: i % 3, MaxUpgrades: i % 3})
	}
	wg.Wait()
	if got := l.Usage(); got != (Usage{}) {
		t.Errorf("%+v are left", got)
	}
}

func TestAdmittingAllocatesNothing(t *testing.T) {
	l := New(Config{RequestsPerSecond: 1e9, Burst: 1 << 30, MaxInFlight: 10})
	if n := testing.AllocsPerRun(100, func() {
		if l.Admit(Short) == nil {
			l.Done(Short)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := New(Config{RequestsPerSecond: 1e9, Burst: 1 << 30, MaxInFlight: 10})
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Admit(Short); err != nil {
			b.Fatal(err)
		}
		l.Done(Short)
	}
}
