package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

func unmarshal(b []byte, into any) error { return json.Unmarshal(b, into) }

// loadTime is how long the load runs: KUBERELAY_E2E_LOAD, default 10 s;
// `make chaos` sets 30 s.
func loadTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("KUBERELAY_E2E_LOAD")
	if text == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(text)
	check(t, err)
	return d
}

const loadRate = 200 // requests a second

// bound is the server that the relay's clients are bound to: where an idle
// moment's requests go.
func (r *relay) bound() *lab.Server {
	r.t.Helper()
	const probe = "e2e-which-server"
	if _, _, _, err := r.request("GET", "/api/v1/namespaces/"+probe, ""); err != nil {
		r.t.Fatal(err)
	}
	metric := func() map[string]string {
		_, lines, err := r.metrics("kuberelay_upstream_requests_total")
		if err != nil {
			r.t.Fatal(err)
		}
		return lines
	}
	before := metric()
	for range 5 {
		if _, _, _, err := r.request("GET", "/api/v1/namespaces/"+probe, ""); err != nil {
			r.t.Fatal(err)
		}
	}
	after := metric()
	for _, s := range cluster.Servers {
		for series, value := range after {
			if strings.Contains(series, s.Address()) && before[series] != value {
				return s
			}
		}
	}
	r.t.Fatalf("no server's count grew: %v, %v", before, after)
	return nil
}

// metrics returns the series whose name begins so, with their values.
func (r *relay) metrics(prefix string) (int, map[string]string, error) {
	resp, err := http.Get(r.Admin + "/metrics")
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text := readAllString(resp)
	series := make(map[string]string)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			if i := strings.LastIndexByte(line, ' '); i > 0 {
				series[line[:i]] = strings.TrimSpace(line[i:])
			}
		}
	}
	return resp.StatusCode, series, nil
}

func startLoad(t *testing.T, r *relay, duration time.Duration) (*load, func()) {
	t.Helper()
	l := &load{relay: r, namespace: r.namespace(), run: fmt.Sprintf("r%d", time.Now().UnixNano())}
	return l, l.start(loadRate, duration)
}

// TestKill kills one of three servers under a mixed load.
func TestKill(t *testing.T) {
	restored(t)
	r := frontAll(t)
	victim := r.bound()
	l, wait := startLoad(t, r, loadTime(t))
	l.awaitRequests(loadRate) // a second of it
	check(t, victim.Kill())
	took := r.awaitState(victim.Address(), "DOWN", 10*time.Second)
	t.Logf("%s was DOWN %v after kill -9", victim.Address(), took)
	if took > 3*time.Second {
		t.Errorf("DOWN after %v, want 3 s at most", took)
	}
	wait()
	l.checkReads(t)
	l.checkCreates(t)
}

// TestHang stops one of three servers with SIGSTOP, or cuts it off, under
// load; then it comes back with slow start.
func TestHang(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(*lab.Server) error }{
		"SIGSTOP":   {(*lab.Server).Stop, (*lab.Server).Cont},
		"blackhole": {(*lab.Server).Blackhole, (*lab.Server).Heal},
	} {
		t.Run(name, func(t *testing.T) {
			restored(t)
			r := frontAll(t)
			victim := r.bound()
			watch := r.openWatch("/api/v1/pods?watch=true&resourceVersion=0")
			defer watch.Body.Close()
			l, wait := startLoad(t, r, max(loadTime(t), 12*time.Second))
			l.awaitRequests(loadRate)
			check(t, fault.begin(victim))
			down := r.awaitState(victim.Address(), "DOWN", 15*time.Second)
			t.Logf("%s was DOWN %v after %s", victim.Address(), down, name)
			if down > 10*time.Second {
				t.Errorf("DOWN after %v, want 10 s at most", down)
			}
			r.await("connections to the server cut", 10*time.Second, func(all map[string]upstream) bool {
				return all[victim.Address()].Streams == 0 && all[victim.Address()].InFlight == 0
			})
			wait()
			l.checkReads(t)
			if s := l.slowestRead(); s.took > 3500*time.Millisecond {
				t.Errorf("a read waited for more than 3.5 s: %v", s)
			}
			l.checkCreates(t)
			check(t, fault.end(victim))
			back := r.awaitState(victim.Address(), "READY", time.Minute)
			all, err := r.upstreams()
			check(t, err)
			if w := all[victim.Address()].Weight; w >= 1 {
				t.Errorf("weight %v right after its return, want slow start", w)
			}
			t.Logf("READY again %v after the end of it, weight %v", back, all[victim.Address()].Weight)
		})
	}
}

// TestRollingRestart restarts all servers, one after the other, under load of
// clients that repeat nothing: servers that are told to shut down in the
// recommended way, and, under the long load of make chaos, servers with their
// defaults, which close the port at once and take a minute to end their watches.
func TestRollingRestart(t *testing.T) {
	shutdowns := map[string][]string{"recommended shutdown": gracefulShutdown}
	if loadTime(t) >= 30*time.Second {
		shutdowns["default shutdown"] = nil
	}
	for name, args := range shutdowns {
		t.Run(name, func(t *testing.T) {
			restored(t)
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
			defer cancel()
			if args == nil {
				restartAll(ctx, t, nil)
				t.Cleanup(func() { restartAll(context.WithoutCancel(ctx), t, gracefulShutdown) })
			}
			r := frontAll(t)
			stop := make(chan struct{})
			l := &load{relay: r, namespace: r.namespace(), run: fmt.Sprintf("r%d", time.Now().UnixNano())}
			wait := l.startUntil(loadRate/2, stop)
			for _, s := range cluster.Servers {
				check(t, s.Term(ctx))
				check(t, s.Start(ctx))
				r.awaitState(s.Address(), "READY", time.Minute)
			}
			close(stop)
			wait()
			l.checkReads(t)
			if lost := l.checkCreates(t); lost != 0 {
				t.Errorf("%d creates were lost, want none", lost)
			}
		})
	}
}

// restartAll restarts every server with other arguments for its shutdown.
func restartAll(ctx context.Context, t *testing.T, args []string) {
	t.Helper()
	shutdownArgs = args
	for _, s := range cluster.Servers {
		check(t, s.Restart(ctx))
	}
}

// TestEtcdTrouble stops etcd: every /readyz is red, reads from the servers'
// caches go on.
func TestEtcdTrouble(t *testing.T) {
	restored(t)
	r := frontAll(t)
	// Fill the watch caches that are read from below.
	r.mustKubectl("", "get", "pods", "-A")
	check(t, cluster.StopEtcd())
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			check(t, cluster.ContEtcd())
		}
	}
	t.Cleanup(resume)
	r.await("no server READY", 30*time.Second, func(all map[string]upstream) bool {
		for _, id := range serverIDs() {
			if all[id].State == "READY" {
				return false
			}
		}
		return true
	})
	for i := range 50 {
		code, _, body, err := r.request("GET", "/api/v1/pods?resourceVersion=0", "")
		if err != nil || code != 200 {
			t.Fatalf("cached read %d while etcd is away: HTTP %d %v %.200s", i, code, err, body)
		}
		if code, _, body, err = r.request("GET", "/version", ""); err != nil || code != 200 {
			t.Fatalf("/version while etcd is away: HTTP %d %v %.200s", code, err, body)
		}
	}
	all, err := r.upstreams()
	check(t, err)
	t.Logf("with etcd stopped: %+v", all)
	resume()
	r.awaitAllReady(serverIDs(), time.Minute)
}

// TestAllDown kills all servers for 5 s: requests are held and then told to
// come back, and kubectl, which does, succeeds by itself.
func TestAllDown(t *testing.T) {
	restored(t)
	r := frontAll(t)
	for _, s := range cluster.Servers {
		check(t, s.Kill())
	}
	begun := time.Now()
	code, header, body, err := r.request("POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"generateName":"held-"}}`)
	held := time.Since(begun)
	check(t, err)
	if code != 503 || header.Get("Retry-After") != "1" || !strings.Contains(string(body), `"kind":"Status"`) {
		t.Errorf("HTTP %d, Retry-After %q, %s: want a 503 Status with Retry-After: 1", code, header.Get("Retry-After"), body)
	}
	if held < 1500*time.Millisecond || held > 2500*time.Millisecond {
		t.Errorf("held for %v, want 2 s", held)
	}
	t.Logf("held for %v, then HTTP %d with Retry-After %s", held, code, header.Get("Retry-After"))

	var kubectl sync.WaitGroup
	kubectl.Go(func() {
		out, err := r.kubectl("", "get", "namespace", "default", "-o", "name")
		if err != nil || strings.TrimSpace(out) != "namespace/default" {
			t.Errorf("kubectl while all servers are down: %q, %v", out, err)
		}
	})
	five := time.NewTimer(5*time.Second - time.Since(begun))
	<-five.C
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var starts sync.WaitGroup
	for _, s := range cluster.Servers {
		starts.Go(func() {
			if err := s.Start(ctx); err != nil {
				t.Errorf("start %s: %v", s.Address(), err)
			}
		})
	}
	starts.Wait()
	kubectl.Wait()
}
