package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// fakePlugin is a source of numbered tokens that takes a while.
type fakePlugin struct {
	runs  atomic.Int32
	takes time.Duration
	ttl   time.Duration // 0: the token names no expiry
	token string        // "": another one each time
	fails atomic.Bool
}

func (p *fakePlugin) fetch(ctx context.Context) (*credential, error) {
	n := p.runs.Add(1)
	if p.takes > 0 {
		select {
		case <-time.After(p.takes):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if p.fails.Load() {
		return nil, errors.New("exit code 1")
	}
	token := p.token
	if token == "" {
		token = fmt.Sprint("t", n)
	}
	c := &credential{authorization: NewSecret("Bearer " + token)}
	if p.ttl != 0 {
		c.validity = validFor(time.Now(), time.Now().Add(p.ttl))
	}
	return c, nil
}

// withPlugin runs test in a bubble, with a kubeconfig whose credential comes
// from p.
func withPlugin(t *testing.T, p *fakePlugin, test func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := openFixture(t, kubeconfig("https://127.0.0.1", fakeExec))
		defer f.Close()
		f.replaceFetch(p.fetch)
		test(t, f)
	})
}

func TestThousandCallersRunThePluginOnce(t *testing.T) {
	p := &fakePlugin{takes: time.Second, ttl: time.Hour}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		together := func(ask func() (*Lease, error)) map[*Lease]int {
			var mu sync.Mutex
			got := map[*Lease]int{}
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					l, err := ask()
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					got[l]++
				})
			}
			wg.Wait()
			return got
		}
		first := together(func() (*Lease, error) { return f.Lease(t.Context()) })
		if len(first) != 1 || p.runs.Load() != 1 {
			t.Fatalf("Lease: %d leases, %d runs, want 1 and 1", len(first), p.runs.Load())
		}
		for l := range first {
			second := together(func() (*Lease, error) { return f.Refused(t.Context(), l) })
			if len(second) != 1 || p.runs.Load() != 2 || second[l] != 0 {
				t.Errorf("Refused: %d leases, %d runs, want one other and 2", len(second), p.runs.Load())
			}
		}
	})
}

func TestRenewalBeforeExpiryBlocksNobody(t *testing.T) {
	p := &fakePlugin{takes: time.Second, ttl: 100 * time.Second}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		f.token()
		advance(75 * time.Second)
		f.token()
		synctest.Wait()
		if n := p.runs.Load(); n != 1 {
			t.Fatalf("%d runs at 75 %% of the lifetime, want 1", n)
		}
		advance(11 * time.Second)
		asked := time.Now()
		if got := f.token(); got != "Bearer t1" || !time.Now().Equal(asked) {
			t.Errorf("while renewing: %q after %s, want t1 at once", got, time.Since(asked))
		}
		advance(time.Second)
		if got := f.token(); got != "Bearer t2" || p.runs.Load() != 2 {
			t.Errorf("after the renewal: %q, %d runs", got, p.runs.Load())
		}
	})
}

func TestFailedRenewalKeepsTheCredentialUntilItExpires(t *testing.T) {
	p := &fakePlugin{ttl: 100 * time.Second}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		f.token()
		p.fails.Store(true)
		advance(86 * time.Second)
		f.token()
		synctest.Wait()
		if got := f.token(); got != "Bearer t1" || p.runs.Load() != 2 {
			t.Fatalf("token %q after %d runs", got, p.runs.Load())
		}
		advance(5 * time.Second) // past 90 s: within the leeway of a tenth
		_, err := f.Lease(t.Context())
		if err == nil || !strings.Contains(err.Error(), `credential "prod": exec plugin fake-plugin: exit code 1`) {
			t.Errorf("error = %v", err)
		}
		p.fails.Store(false)
		advance(maxBackoff)
		if got := f.token(); !strings.HasPrefix(got, "Bearer t") || got == "Bearer t1" {
			t.Errorf("token after recovery = %q", got)
		}
		if diff := cmp.Diff([]string{"prod ok", "prod error", "prod error", "prod ok"}, f.refreshed()); diff != "" {
			t.Errorf("OnRefresh (-want +got):\n%s", diff)
		}
		if n := f.logs.FilterMessage("credential cannot be had").Len(); n != 1 {
			t.Errorf("%d warnings for one row of failures", n)
		}
	})
}

func TestFailingPluginIsNotRunForEachRequest(t *testing.T) {
	p := &fakePlugin{}
	p.fails.Store(true)
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		start := time.Now()
		var at []time.Duration
		for time.Since(start) < 40*time.Second {
			before := p.runs.Load()
			if _, err := f.Lease(t.Context()); err == nil || !strings.Contains(err.Error(), "exit code 1") {
				t.Fatalf("error = %v", err)
			}
			if p.runs.Load() != before {
				at = append(at, time.Since(start))
			}
			advance(100 * time.Millisecond)
		}
		want := []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 25 * time.Second, 35 * time.Second}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("runs at (-want +got):\n%s", diff)
		}
		// A kubeconfig that was written again is a reason to try at once.
		p.fails.Store(false)
		f.write(kubeconfig("https://127.0.0.1", fakeExec))
		f.reloadNow()
		if got := f.token(); got != "Bearer t8" {
			t.Errorf("token after the kubeconfig was written = %q", got)
		}
	})
}

func TestPluginThatGivesWhatHasRunOutIsNotRunForEver(t *testing.T) {
	p := &fakePlugin{ttl: -time.Minute}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		if _, err := f.Lease(t.Context()); err == nil || !strings.Contains(err.Error(), "has run out already: check this machine's clock") {
			t.Errorf("error = %v", err)
		}
		if n := p.runs.Load(); n != 1 {
			t.Errorf("%d runs, want 1", n)
		}
	})
}

func TestWaitersHonourTheirOwnContext(t *testing.T) {
	p := &fakePlugin{takes: 30 * time.Second}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := f.Lease(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 500*time.Millisecond {
			t.Errorf("Lease = %v after %s, want the deadline after 500ms", err, time.Since(start))
		}
		// The run goes on, and its result is there for the next.
		advance(30 * time.Second)
		if got := f.token(); got != "Bearer t1" || p.runs.Load() != 1 {
			t.Errorf("token %q, %d runs", got, p.runs.Load())
		}
	})
}

func TestPluginThatHangsIsGivenUp(t *testing.T) {
	p := &fakePlugin{takes: time.Hour}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		start := time.Now()
		_, err := f.Lease(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no answer within 1m0s") || time.Since(start) != time.Minute {
			t.Errorf("Lease = %v after %s", err, time.Since(start))
		}
	})
}

func TestCloseStopsThePluginAndStaysClosed(t *testing.T) {
	p := &fakePlugin{takes: 30 * time.Second}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		failed := make(chan error, 1)
		go func() {
			_, err := f.Lease(t.Context())
			failed <- err
		}()
		advance(time.Second)
		start := time.Now()
		f.Close()
		if err := <-failed; !errors.Is(err, context.Canceled) || !time.Now().Equal(start) {
			t.Errorf("Lease = %v, %s after Close", err, time.Since(start))
		}
		advance(maxBackoff)
		if _, err := f.Lease(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Lease after Close = %v", err)
		}
		if _, err := f.Refused(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Refused after Close = %v", err)
		}
		if n := f.logs.FilterLevelExact(1).Len(); n != 0 {
			t.Errorf("%d warnings for a normal end", n)
		}
	})
}

func TestRefused(t *testing.T) {
	t.Run("a lease that was replaced meanwhile is answered at once", func(t *testing.T) {
		p := &fakePlugin{takes: time.Second}
		withPlugin(t, p, func(t *testing.T, f *fixture) {
			first, err := f.Lease(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			second, err := f.Refused(t.Context(), first)
			if err != nil || second.same(first) || second.Generation() == first.Generation() {
				t.Fatalf("Refused = %v, %v", second, err)
			}
			start := time.Now()
			again, err := f.Refused(t.Context(), first)
			if err != nil || again != second || !time.Now().Equal(start) || p.runs.Load() != 2 {
				t.Errorf("Refused of the old lease = %v, %v after %s and %d runs", again, err, time.Since(start), p.runs.Load())
			}
		})
	})
	t.Run("refreshes are five seconds apart", func(t *testing.T) {
		p := &fakePlugin{}
		withPlugin(t, p, func(t *testing.T, f *fixture) {
			l, err := f.Lease(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if l, err = f.Refused(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Refused(t.Context(), l); !errors.Is(err, ErrNoNewerCredential) || p.runs.Load() != 2 {
				t.Errorf("at once: %v, %d runs, want ErrNoNewerCredential and no run", err, p.runs.Load())
			}
			advance(refusalInterval)
			if _, err := f.Refused(t.Context(), l); err != nil || p.runs.Load() != 3 {
				t.Errorf("after 5 s: %v, %d runs", err, p.runs.Load())
			}
		})
	})
	t.Run("a plugin that gives the same token has nothing newer", func(t *testing.T) {
		p := &fakePlugin{token: "same"}
		withPlugin(t, p, func(t *testing.T, f *fixture) {
			l, err := f.Lease(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Refused(t.Context(), l); !errors.Is(err, ErrNoNewerCredential) || p.runs.Load() != 2 {
				t.Errorf("Refused = %v after %d runs", err, p.runs.Load())
			}
			if f.token() != "Bearer same" {
				t.Error("the lease must stay in use")
			}
		})
	})
	t.Run("a failing plugin says why", func(t *testing.T) {
		p := &fakePlugin{}
		withPlugin(t, p, func(t *testing.T, f *fixture) {
			l, err := f.Lease(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p.fails.Store(true)
			if _, err := f.Refused(t.Context(), l); err == nil || !strings.Contains(err.Error(), "exit code 1") {
				t.Errorf("Refused = %v", err)
			}
			if f.token() != "Bearer t1" {
				t.Error("the lease must stay in use")
			}
		})
	})
	t.Run("a static token is read again from the kubeconfig", func(t *testing.T) {
		f := openFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "one"}))
		l, err := f.Lease(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Refused(t.Context(), l); !errors.Is(err, ErrNoNewerCredential) {
			t.Errorf("with nothing new: %v", err)
		}
		f.nextRefusal = time.Time{}
		f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "two"}))
		newer, err := f.Refused(t.Context(), l)
		if err != nil || newer.Authorization().Reveal() != "Bearer two" {
			t.Errorf("Refused = %v, %v", newer, err)
		}
	})
}

func TestPluginOfAReplacedUserIsNotUsed(t *testing.T) {
	p := &fakePlugin{takes: 10 * time.Second}
	withPlugin(t, p, func(t *testing.T, f *fixture) {
		got := make(chan string, 1)
		go func() {
			l, err := f.Lease(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- l.Authorization().Reveal()
		}()
		advance(time.Second)
		f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "other-user"}))
		f.reloadNow()
		if token := <-got; token != "Bearer other-user" {
			t.Errorf("token = %q, want the new user's", token)
		}
		if token := f.token(); token != "Bearer other-user" {
			t.Errorf("token after the old plugin ended = %q", token)
		}
	})
}

func TestValidity(t *testing.T) {
	now := time.Now()
	for lifetime, leeway := range map[time.Duration]time.Duration{time.Hour: 10 * time.Second, 50 * time.Second: 5 * time.Second} {
		for range 100 {
			v := validFor(now, now.Add(lifetime))
			if part := v.renewAt.Sub(now).Seconds() / lifetime.Seconds(); part < 0.749 || part > 0.851 {
				t.Fatalf("renewed at %.3f of the lifetime, want 0.75 to 0.85", part)
			}
			if v.renewAt != v.renewAt.Round(0) || v.until != v.until.Round(0) {
				t.Fatal("a monotonic time would not pass while the machine sleeps")
			}
			if got := v.expiry.Sub(v.until); got != leeway {
				t.Fatalf("leeway of %s is %s, want %s", lifetime, got, leeway)
			}
		}
	}
	if v := validFor(now, time.Time{}); v != (validity{}) || !v.usable(now) || v.due(now) {
		t.Errorf("without expiry: %+v", v)
	}
}

func TestJWTExpiry(t *testing.T) {
	exp := time.Unix(2000000000, 0)
	for token, want := range map[string]time.Time{
		jwt(exp):               exp,
		"opaque":               {},
		"a.b":                  {},
		"a.b.c.d":              {},
		"a.!!.c":               {},
		"a.e30.c":              {},
		"a.eyJleHAiOiJ4In0.":   {},
		"a.eyJleHAiOjFlMzB9.c": {},
		"a.eyJleHAiOi01fQ.c":   {},
	} {
		if got := jwtExpiry(token); !got.Equal(want) {
			t.Errorf("%s: %v, want %v", token, got, want)
		}
	}
}

func BenchmarkLease(b *testing.B) {
	for name, v := range map[string]validity{"static": {}, "expiring": validFor(time.Now(), time.Now().Add(time.Hour))} {
		b.Run(name, func(b *testing.B) {
			k := &Kubeconfig{}
			k.lease.Store(&Lease{validity: v})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Lease(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
