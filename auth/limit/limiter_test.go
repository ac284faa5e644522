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

// exceeded checks that an error says which limit was reached.
func exceeded(t *testing.T, err error, want Exceeded) {
	t.Helper()
	var got *Exceeded
	if !errors.As(err, &got) {
		t.Fatalf("not refused: %v", err)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Fatalf("want -, got +:\n%s", diff)
	}
}

// refused checks that there are as many requests under way as there may be.
func refused(t *testing.T, l *Limiter, k Kind, want Exceeded) {
	t.Helper()
	exceeded(t, l.Admit(k), want)
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

// tooFast checks that the rate refuses a request.
func tooFast(t *testing.T, l *Limiter, want Exceeded) {
	t.Helper()
	exceeded(t, l.Ask(), want)
}

// asked checks that the rate allows n requests.
func asked(t *testing.T, l *Limiter, n int) {
	t.Helper()
	for i := range n {
		if err := l.Ask(); err != nil {
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
		asked(t, l, 10)
		tooFast(t, l, Exceeded{"requestsPerSecond", 5, 1})
		time.Sleep(200 * time.Millisecond)
		asked(t, l, 1)
		tooFast(t, l, Exceeded{"requestsPerSecond", 5, 1})
		time.Sleep(time.Hour)
		asked(t, l, 10)
		tooFast(t, l, Exceeded{"requestsPerSecond", 5, 1})

		total := 0
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			for l.Ask() == nil {
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
		asked(t, l, 1)
		tooFast(t, l, Exceeded{"requestsPerSecond", 0.1, 10})
		time.Sleep(5500 * time.Millisecond)
		tooFast(t, l, Exceeded{"requestsPerSecond", 0.1, 5})
		time.Sleep(5 * time.Second)
		asked(t, l, 1)

		slow := New(Config{RequestsPerSecond: 1e-12, Burst: 1})
		asked(t, slow, 1)
		tooFast(t, slow, Exceeded{"requestsPerSecond", 1e-12, 60})
	})
}

func TestTheRateAndHowManyThereAreAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{RequestsPerSecond: 1, Burst: 2, MaxInFlight: 1})
		admitted(t, l, Short, 1)
		for range 100 {
			refused(t, l, Short, Exceeded{"maxInFlight", 1, 1})
		}
		asked(t, l, 2)
		tooFast(t, l, Exceeded{"requestsPerSecond", 1, 1})
		if got := l.Usage().InFlight; got != 1 {
			t.Errorf("%d in flight, want the one that was admitted", got)
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
		asked(t, l, 3)
		tooFast(t, l, Exceeded{"requestsPerSecond", 1, 1})

		l.Set(Config{RequestsPerSecond: 1, Burst: 100})
		tooFast(t, l, Exceeded{"requestsPerSecond", 1, 1}) // a reload gives nothing away
		l.Set(Config{})
		asked(t, l, 100)
		admitted(t, l, Upgrade, 100)
		if diff := cmp.Diff(Usage{InFlight: 4, Watches: 6, Upgrades: 100}, l.Usage()); diff != "" {
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
				if k := Kind(i % int(kinds)); l.Ask() == nil && l.Admit(k) == nil {
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
		if l.Ask() == nil && l.Admit(Short) == nil {
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
		if err := errors.Join(l.Ask(), l.Admit(Short)); err != nil {
			b.Fatal(err)
		}
		l.Done(Short)
	}
}
