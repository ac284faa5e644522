package health

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// behaviour is how a fake API server answers.
type behaviour func(ctx context.Context, path string) Result

func answers(r Result) behaviour { return func(context.Context, string) Result { return r } }

// red fails readyz with these checks, and livez too unless live.
func red(live bool, checks ...string) behaviour {
	return func(_ context.Context, path string) Result {
		if path != "/readyz" && live {
			return Result{Kind: Pass, Code: 200}
		}
		return Result{Kind: NotReady, Code: 500, FailedChecks: checks}
	}
}

// hangs does not answer the paths at all; others get a 200.
func hangs(paths ...string) behaviour {
	return func(ctx context.Context, path string) Result {
		if len(paths) > 0 && !slices.Contains(paths, path) {
			return Result{Kind: Pass, Code: 200}
		}
		<-ctx.Done()
		return Result{Kind: Timeout, Err: errors.New("no answer in time")}
	}
}

var (
	up          = answers(Result{Kind: Pass, Code: 200})
	refuses     = answers(Result{Kind: Refused, Err: errors.New("connection refused")})
	unreachable = answers(Result{Kind: Unreachable, Err: errors.New("no route to host")})
	resets      = answers(Result{Kind: Reset, Err: errors.New("connection reset")})
	badCert     = answers(Result{Kind: Certificate, Err: errors.New("certificate expired")})
	refuses401  = answers(Result{Kind: Credential, Code: 401, Err: errCredentialRefused})
	noFiles     = answers(Result{Kind: Local, Err: errors.New("no file descriptor left")})
	frozen      = hangs()
)

// fakeProber is a set of fake API servers.
type fakeProber struct {
	mu        sync.Mutex
	servers   map[string]behaviour
	calls     []call
	forgotten []string
	start     time.Time
}

type call struct {
	id, path string
	fresh    bool
	at       time.Duration
}

func newFakeProber() *fakeProber {
	return &fakeProber{servers: map[string]behaviour{}, start: time.Now()}
}

func (f *fakeProber) Probe(ctx context.Context, t Target, path string, fresh bool) Result {
	f.mu.Lock()
	b := f.servers[t.ID]
	f.calls = append(f.calls, call{t.ID, path, fresh, time.Since(f.start)})
	f.mu.Unlock()
	if b == nil {
		b = up
	}
	return b(ctx, path)
}

func (f *fakeProber) Forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgotten = append(f.forgotten, id)
}

func (f *fakeProber) set(id string, b behaviour) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[id] = b
}

// times are when path of a target was asked for.
func (f *fakeProber) times(id, path string) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []time.Duration
	for _, c := range f.calls {
		if c.id == id && c.path == path {
			all = append(all, c.at)
		}
	}
	return all
}

// bench runs a group in a synctest bubble against fake servers. Jitter is
// fixed in its middle: an interval of 2s is 2s, a back-off is 0.9 of itself.
type bench struct {
	t      *testing.T
	group  *Group
	prober *fakeProber
	start  time.Time

	mu       sync.Mutex
	log      []string
	troubled string // what OnTrouble was last told
}

func newBench(t *testing.T, cfg Config, targets ...Target) *bench {
	t.Helper()
	b := &bench{t: t, prober: newFakeProber(), start: time.Now()}
	b.group = NewGroup(cfg, b.prober, Options{
		OnTransition: func(tr Transition) {
			b.note("%s %s→%s %s", tr.ID, tr.From, tr.To, tr.Cause)
		},
		OnTrouble: func(trouble string) {
			b.note("trouble: %q", trouble)
			b.mu.Lock()
			defer b.mu.Unlock()
			b.troubled = trouble
		},
	})
	b.group.jitter = func() float64 { return 0.5 }
	b.group.Set(targets)
	return b
}

func (b *bench) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, time.Since(b.start).String()+" "+fmt.Sprintf(format, args...))
}

// run starts the group for the rest of the test.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.group.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
}

// until lets the bubble's clock reach d after the start.
func (b *bench) until(d time.Duration) {
	<-time.After(time.Until(b.start.Add(d)))
	synctest.Wait()
}

// take returns what was noted since the last call.
func (b *bench) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	log := b.log
	b.log = nil
	return log
}

func (b *bench) trouble() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.troubled
}

func (b *bench) expect(want ...string) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.take()); diff != "" {
		b.t.Errorf("timeline (-want +got):\n%s", diff)
	}
}

func target(id string, initial State) Target {
	return Target{ID: id, URL: &url.URL{Scheme: "https", Host: id + ":6443"}, Initial: initial}
}

// targets are READY from the start, and pass at 0s.
func targets(ids string) []Target {
	var all []Target
	for id := range strings.FieldsSeq(ids) {
		all = append(all, target(id, Ready))
	}
	return all
}
