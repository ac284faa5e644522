package health

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bubble runs f in a bubble, with a running group.
func bubble(t *testing.T, cfg Config, ts []Target, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, cfg, ts...)
		b.run()
		f(b)
	})
}

func TestLostEtcdLeavesAllServersDegraded(t *testing.T) {
	bubble(t, Config{}, targets("a b c"), func(b *bench) {
		for i, id := range []string{"a", "b", "c"} {
			b.until(time.Duration(i+1) * 500 * ms) // etcd is not lost everywhere in one instant
			b.prober.set(id, red(false, "etcd", "check-of-"+id))
		}
		b.until(60 * time.Second)
		for _, s := range b.group.Snapshot() {
			if s.State != Degraded {
				t.Errorf("%s is %s (%s), want DEGRADED", s.ID, s.State, s.Reason)
			}
		}
		for _, line := range b.take() {
			if strings.Contains(line, "DOWN") {
				t.Errorf("a server was DOWN: %s", line)
			}
		}
		if got, want := b.trouble(), "all API servers fail readyz check [etcd]"; got != want {
			t.Errorf("trouble %q, want %q", got, want)
		}

		for _, id := range []string{"a", "b", "c"} {
			b.prober.set(id, up)
		}
		b.until(65 * time.Second)
		for _, s := range b.group.Snapshot() {
			if s.State != Ready {
				t.Errorf("%s is %s (%s) after etcd is back, want READY", s.ID, s.State, s.Reason)
			}
		}
		if got := b.trouble(); got != "" {
			t.Errorf("trouble %q after etcd is back", got)
		}
	})
}

func TestTheServerWithoutEtcdIsDownWhenAnotherHasIt(t *testing.T) {
	bubble(t, Config{}, targets("a b c"), func(b *bench) {
		b.until(1 * time.Second)
		for _, id := range []string{"a", "b", "c"} {
			b.prober.set(id, red(false, "etcd"))
		}
		b.until(10 * time.Second)
		b.prober.set("c", up)
		b.until(14 * time.Second)
		want := map[string]State{"a": Down, "b": Down, "c": Ready}
		for id, state := range want {
			if got := b.group.State(id); got != state {
				t.Errorf("%s is %s, want %s", id, got, state)
			}
		}
	})
}

func TestPaceOfProbes(t *testing.T) {
	gaps := func(at []time.Duration) []time.Duration {
		var all []time.Duration
		for i := 1; i < len(at); i++ {
			all = append(all, at[i]-at[i-1])
		}
		return all
	}
	for _, test := range []struct {
		name   string
		server behaviour
		jitter float64
		until  time.Duration
		want   []time.Duration
	}{
		{"READY, shortest", up, 0, 5 * time.Second, []time.Duration{1600 * ms, 1600 * ms, 1600 * ms}},
		{"READY, longest", up, 1, 5 * time.Second, []time.Duration{2400 * ms, 2400 * ms}},
		{
			"DOWN backs off to 2s, and after half a minute to 10s", refuses, 0, 75 * time.Second,
			slices.Concat([]time.Duration{250 * ms, 500 * ms, 1 * time.Second}, slices.Repeat([]time.Duration{2 * time.Second}, 16),
				[]time.Duration{4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second}),
		},
		{
			"DEGRADED settles", red(true, "etcd"), 0.5, 35 * time.Second,
			slices.Concat(slices.Repeat([]time.Duration{500 * ms}, 60), []time.Duration{2 * time.Second, 2 * time.Second}),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Config{}, target("a", Ready))
				b.group.jitter = func() float64 { return test.jitter }
				b.prober.set("a", test.server)
				b.run()
				b.until(test.until)
				if diff := cmp.Diff(test.want, gaps(b.prober.times("a", "/readyz"))); diff != "" {
					t.Errorf("gaps between probes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestEveryTenthProbeDialsAnew(t *testing.T) {
	bubble(t, Config{}, targets("a"), func(b *bench) {
		b.until(45 * time.Second)
		var fresh []int
		for i, c := range b.prober.calls {
			if c.fresh {
				fresh = append(fresh, i)
			}
		}
		if diff := cmp.Diff([]int{0, 10, 20}, fresh); diff != "" {
			t.Errorf("fresh probes (-want +got):\n%s", diff)
		}
	})
}

func TestAProbeAfterARefusedRequestDialsAnew(t *testing.T) {
	bubble(t, Config{}, targets("a b"), func(b *bench) {
		b.until(1 * time.Second)
		b.group.Observe("a", Refused)
		synctest.Wait()
		last := b.prober.calls[len(b.prober.calls)-1]
		if want := (call{"a", "/readyz", true, 1 * time.Second}); last != want {
			t.Errorf("last probe %+v, want %+v", last, want)
		}
	})
}

func TestAnyNumberOfAsksShareAProbe(t *testing.T) {
	bubble(t, Config{}, targets("a b"), func(b *bench) {
		b.until(1 * time.Second)
		b.group.Observe("a", Reset) // probed at once
		synctest.Wait()
		for range 1000 {
			b.group.ProbeNow("a")
			b.group.Observe("a", ShuttingDown)
		}
		b.until(1050 * ms)
		for range 1000 {
			b.group.ProbeNow("")
		}
		b.until(1999 * ms)
		want := []time.Duration{0, 1 * time.Second, 1100 * ms, 1600 * ms}
		if diff := cmp.Diff(want, b.prober.times("a", "/readyz")); diff != "" {
			t.Errorf("probes of a (-want +got):\n%s", diff)
		}
		want = []time.Duration{0, 1050 * ms}
		if diff := cmp.Diff(want, b.prober.times("b", "/readyz")); diff != "" {
			t.Errorf("probes of b (-want +got):\n%s", diff)
		}
	})
}

func TestAnAskNeverDelaysAProbe(t *testing.T) {
	bubble(t, Config{Interval: 100 * ms}, targets("a"), func(b *bench) {
		for at := 10 * ms; at < time.Second; at += 10 * ms {
			b.until(at)
			b.group.ProbeNow("a")
		}
		b.until(time.Second)
		if got := len(b.prober.times("a", "/readyz")); got != 11 {
			t.Errorf("%d probes in a second of 100ms intervals, want 11", got)
		}
	})
}

func TestSetKeepsTheStateOfTargetsThatStay(t *testing.T) {
	bubble(t, Config{}, targets("a b"), func(b *bench) {
		b.until(1 * time.Second)
		b.prober.set("a", badCert)
		b.until(3 * time.Second)
		b.expect("2s a READY→MISCONFIGURED certificate")

		moved := target("b", Down)
		moved.URL = &url.URL{Scheme: "https", Host: "elsewhere:6443"}
		b.prober.set("b", frozen)
		b.group.Set([]Target{target("a", Ready), moved, target("c", Suspect), target("c", Down)})
		synctest.Wait()
		b.expect("3s c SUSPECT→READY pass")
		got := map[string]State{}
		for _, s := range b.group.Snapshot() {
			got[s.ID] = s.State
		}
		want := map[string]State{"a": Misconfigured, "b": Down, "c": Ready}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"b"}, b.prober.forgotten); diff != "" {
			t.Errorf("forgotten (-want +got):\n%s", diff)
		}
	})
}

func TestARemovedTargetIsSilentAndForgotten(t *testing.T) {
	bubble(t, Config{}, targets("a b"), func(b *bench) {
		b.until(1 * time.Second)
		b.prober.set("a", frozen)
		b.until(2500 * ms) // a probe hangs
		b.group.Set(targets("b"))
		synctest.Wait()
		if diff := cmp.Diff([]string{"a"}, b.prober.forgotten); diff != "" {
			t.Errorf("forgotten (-want +got):\n%s", diff)
		}
		b.group.Observe("a", Refused)
		b.group.ObservePass("a", time.Now().UnixNano())
		b.group.ProbeNow("a")
		b.until(20 * time.Second)
		b.expect()
		if got := len(b.prober.times("a", "/readyz")); got != 2 {
			t.Errorf("%d probes of a, want 2", got)
		}
		if got := b.group.State("a"); got != Down {
			t.Errorf("state of a removed target is %s, want DOWN", got)
		}
	})
}

func TestATargetThatComesBackStartsAnew(t *testing.T) {
	bubble(t, Config{}, targets("a b"), func(b *bench) {
		b.until(1 * time.Second)
		b.prober.set("a", frozen)
		b.until(2500 * ms)
		b.prober.set("a", up)
		b.group.Set(targets("b"))
		b.group.Set([]Target{target("a", Suspect), target("b", Ready)})
		b.until(3 * time.Second)
		b.expect("2.5s a SUSPECT→READY pass")
	})
}

func TestCallbacksMayCallTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeProber()
		f.set("a", refuses)
		var g *Group
		var probes int
		g = NewGroup(Config{}, f, Options{
			OnTransition: func(tr Transition) {
				if got := g.State(tr.ID); got != tr.To {
					t.Errorf("State in OnTransition is %s, want %s", got, tr.To)
				}
				g.ProbeNow("")
				g.Observe("b", Pass)
				g.Set([]Target{target("a", Ready), target("b", Ready)})
			},
			OnProbe: func(id string, r Result) {
				if id == "a" && r.Kind != Refused {
					t.Errorf("OnProbe of a got %s, want refused", r.Kind)
				}
				if id == "a" {
					probes++
				}
				g.Snapshot()
			},
		})
		g.Set(targets("a"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := g.State("a"); got != Down {
			t.Errorf("a is %s, want DOWN", got)
		}
		if probes < 4 {
			t.Errorf("%d probes of a, want at least 4", probes)
		}
	})
}

func TestObserveErrorGivesItsReason(t *testing.T) {
	bubble(t, Config{}, targets("a b"), func(b *bench) {
		b.until(1 * time.Second)
		b.group.ObserveError("a", errors.New("not of a connection"))
		b.group.ObserveError("a", nil)
		synctest.Wait()
		b.expect()
		b.group.ObserveError("a", context.DeadlineExceeded) // a success is at hand
		synctest.Wait()
		b.expect()
		b.until(2500 * ms)
		b.group.ObserveError("a", context.DeadlineExceeded)
		synctest.Wait()
		b.expect("2.5s a READY→SUSPECT timeout")
		if s := b.group.Snapshot()[0]; s.LastError != "no answer in time" {
			t.Errorf("last error %q", s.LastError)
		}
	})
}

func TestASecondRunIsRefused(t *testing.T) {
	bubble(t, Config{}, nil, func(b *bench) {
		if err := b.group.Run(t.Context()); err == nil {
			t.Error("a second Run of a running group returned nil")
		}
	})
}

func TestStatusOfATarget(t *testing.T) {
	bubble(t, Config{}, []Target{{
		ID: "a", URL: &url.URL{Scheme: "https", User: url.UserPassword("u", "hunter2"), Host: "a:6443", Path: "/k8s"}, Initial: Suspect,
	}}, func(b *bench) {
		b.prober.set("a", red(true, "etcd"))
		b.until(2500 * ms)
		want := Status{
			ID: "a", URL: "https://a:6443/k8s", State: Degraded, Since: b.start.Add(2 * time.Second), Reason: "readyz check [etcd] failed",
			Cause: NotReady, LastProbe: b.start.Add(2500 * ms), LastError: "readyz check [etcd] failed",
		}
		got, ok := b.group.Status("a")
		if diff := cmp.Diff(want, got); diff != "" || !ok {
			t.Errorf("status, %t (-want +got):\n%s", ok, diff)
		}
		if diff := cmp.Diff([]Status{want}, b.group.Snapshot()); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
		if got, ok := b.group.Status("b"); ok {
			t.Errorf("a target that is not there has a status: %+v", got)
		}
	})
}

func TestCommonTrouble(t *testing.T) {
	red := func(checks ...string) answer { return answer{kind: NotReady, checks: checks} }
	for _, test := range []struct {
		name    string
		answers []answer
		total   int
		want    string
	}{
		{"none answers", nil, 3, ""},
		{"one passes", []answer{red("etcd"), {kind: Pass}, red("etcd")}, 3, ""},
		{"all fail one check", []answer{red("etcd", "x"), red("y", "etcd")}, 2, "all API servers fail readyz check [etcd]"},
		{"all fail, each its own", []answer{red("x"), red("y")}, 2, "all API servers fail readyz"},
		{"all that answer fail", []answer{red("etcd"), red("etcd")}, 3, "all API servers that answer (2 of 3) fail readyz check [etcd]"},
		{"all refuse the credential", []answer{{kind: Credential}, {kind: Credential}}, 2, "all API servers refuse the probe's credential"},
		{"the only one refuses the credential", []answer{{kind: Credential}}, 1, "the only API server refuses the probe's credential"},
		{"one fails, one refuses", []answer{red("etcd"), {kind: Credential}}, 2, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := commonTrouble("readyz", test.answers, test.total); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func BenchmarkObservePass(b *testing.B) {
	g := NewGroup(Config{}, newFakeProber(), Options{})
	g.Set(targets("a b c"))
	now := time.Now().UnixNano()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			g.ObservePass("b", now)
		}
	})
}
