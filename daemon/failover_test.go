package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestRefusedGoesToASurvivorAtOnce stops one server and sends creates before
// health can know: each must reach the other, once.
func TestRefusedGoesToASurvivorAtOnce(t *testing.T) {
	r := start(t, servers(t, 3))
	r.all("POST /api/v1/pods", fakeapi.Text(201, "made"))
	bound := r.bound()
	r.Servers[bound].Down()
	begun := time.Now()
	got := r.do("POST", "/api/v1/pods", "{}")
	took := time.Since(begun)
	if got.Code != 201 || r.received("POST /api/v1/pods") != 1 {
		t.Fatalf("answer %+v, %d creates received, want 201 and 1", got, r.received("POST /api/v1/pods"))
	}
	t.Logf("refused and answered by a survivor in %v", took)
	r.awaitState(bound, "DOWN")
	r.Servers[bound].Up()
	r.awaitState(bound, "READY")
	if w := r.state(bound).Weight; w >= 1 {
		t.Errorf("weight %v right after DOWN → READY, want slow start", w)
	}
}

// TestSurvivorIsAskedWithinMilliseconds measures, for requests that are
// refused, the time until a survivor has them. The fastest counts: others
// share the machine with everything else that runs on it.
func TestSurvivorIsAskedWithinMilliseconds(t *testing.T) {
	r := start(t, servers(t, 3), func(cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Policy = balancer.PolicyRoundRobin // keeps all connected
	})
	var mu sync.Mutex
	arrived := make(map[string]time.Time) // by Audit-ID
	r.all("GET /api/v1/pods", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		arrived[req.Header.Get("Audit-Id")] = time.Now()
		mu.Unlock()
		w.WriteHeader(http.StatusOK)
	}))
	for victim := range r.Servers {
		for range 6 {
			r.do("GET", "/api/v1/pods", "")
		}
		r.Servers[victim].Down()
		for range 6 {
			if got := r.do("GET", "/api/v1/pods", ""); got.Code != 200 {
				t.Errorf("read: %+v", got)
			}
		}
		r.awaitState(victim, "DOWN")
		r.Servers[victim].Up()
		r.awaitState(victim, "READY")
	}
	var took []time.Duration
	for _, e := range r.Logs.FilterMessage("request goes to another API server").All() {
		id, _ := e.ContextMap()["audit-id"].(string)
		if at, ok := arrived[id]; ok {
			took = append(took, at.Sub(e.Time))
		}
	}
	if len(took) == 0 {
		t.Fatal("no request was refused")
	}
	slices.Sort(took)
	t.Logf("from the refusal to a survivor: %v", took)
	if took[0] > 5*time.Millisecond {
		t.Errorf("no survivor had a request within 5 ms, the fastest took %v", took[0])
	}
}

// TestHungServer freezes the server that many reads wait for: each gets its
// answer from another, and creates end as "may have been processed".
func TestHungServer(t *testing.T) {
	for name, fault := range map[string]fakeapi.Fault{"frozen": fakeapi.Freeze, "one-way loss": fakeapi.Mute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, servers(t, 3))
			r.all("GET /api/v1/pods", fakeapi.Text(200, "fine"))
			r.all("POST /api/v1/pods", fakeapi.Text(201, "made"))
			bound := r.bound()
			watch := r.Servers[bound].Watch("/api/v1/nodes", nil)
			resp, lines := r.watch(t.Context(), "/api/v1/nodes?watch=true")
			watch.Await(1)
			r.Servers[bound].SetFault(fault)
			defer r.Servers[bound].SetFault(fakeapi.NoFault)

			var requests sync.WaitGroup
			var mu sync.Mutex
			var slowest time.Duration
			for range 20 {
				requests.Go(func() {
					begun := time.Now()
					got := r.do("GET", "/api/v1/pods?resourceVersion=0", "")
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, time.Since(begun))
					if got.Code != 200 {
						t.Errorf("read: %+v", got)
					}
				})
			}
			create := make(chan reply, 1)
			go func() { create <- r.do("POST", "/api/v1/pods", "{}") }()
			requests.Wait()
			t.Logf("the slowest read took %v", slowest)
			if got := <-create; got.Code != 201 && (got.Code != 504 && got.Code != 502 || got.Header.Get("Retry-After") != "") {
				t.Errorf("create: %+v, want 201 from another server or 504 without Retry-After", got)
			}
			r.awaitState(bound, "DOWN")
			if line, err := lines.ReadString('\n'); err == nil {
				t.Errorf("the watch on the hung server goes on with %q", line)
			}
			resp.Body.Close()
		})
	}
}

// TestHungHandshakeIsRetriedForEveryVerb lets new connections hang before TLS
// is up: nothing was sent, so a create may go elsewhere.
func TestHungHandshakeIsRetriedForEveryVerb(t *testing.T) {
	r := start(t, servers(t, 2))
	r.all("POST /api/v1/pods", fakeapi.Text(201, "made"))
	bound := r.bound()
	r.Servers[bound].SetFault(fakeapi.HangHandshake)
	r.Servers[bound].CutConnections()
	got := r.do("POST", "/api/v1/pods", "{}")
	if got.Code != 201 || r.received("POST /api/v1/pods") != 1 {
		t.Errorf("answer %+v, %d creates received, want 201 and 1", got, r.received("POST /api/v1/pods"))
	}
}

// TestKeepAliveRace closes idle connections in the moment of a request.
func TestKeepAliveRace(t *testing.T) {
	r := start(t, servers(t, 2))
	r.all("GET /api/v1/pods", fakeapi.Text(200, "fine"))
	bound := r.bound()
	for range 5 {
		if n := r.Servers[bound].CloseIdleOnNextByte(); n == 0 {
			t.Fatal("no idle connection to close")
		}
		if got := r.do("GET", "/api/v1/pods?resourceVersion=0", ""); got.Code != 200 {
			t.Errorf("read: %+v", got)
		}
		if got := r.do("GET", "/api/v1/pods?resourceVersion=0", ""); got.Code != 200 {
			t.Errorf("read: %+v", got)
		}
	}
	if s := r.state(bound); s.Breaker != "closed" || s.State != "READY" {
		t.Errorf("a race on idle connections is nobody's fault: %+v", s)
	}
}

// TestAllDown holds a request while every server is DOWN, and then answers it
// with a Status that says when to come back.
func TestAllDown(t *testing.T) {
	r := start(t, servers(t, 2))
	for _, s := range r.Servers {
		s.Down()
	}
	begun := time.Now()
	got := r.do("POST", "/api/v1/pods", "{}")
	if held := time.Since(begun); held < time.Second {
		t.Errorf("answered after %v, want it held for 2 s", held)
	}
	var status metav1.Status
	if err := json.Unmarshal([]byte(got.Body), &status); err != nil {
		t.Fatalf("no Status: %v: %s", err, got.Body)
	}
	if got.Code != 503 || got.Header.Get("Retry-After") != "1" || got.Header.Get("Content-Type") != "application/json" ||
		status.Kind != "Status" || status.Code != 503 || status.Reason != metav1.StatusReasonServiceUnavailable ||
		status.Details == nil || status.Details.RetryAfterSeconds != 1 || len(status.Details.Causes) == 0 {
		t.Errorf("answer %d %v %+v, want a 503 Status with Retry-After: 1", got.Code, got.Header, status)
	}
}

// TestHeldRequestIsMadeWhenAServerIsBack holds a create while every server is
// DOWN, and then starts one of them.
func TestHeldRequestIsMadeWhenAServerIsBack(t *testing.T) {
	r := start(t, servers(t, 2), func(cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = time.Minute
	})
	r.all("POST /api/v1/pods", fakeapi.Text(201, "made"))
	for i, s := range r.Servers {
		s.Down()
		r.awaitState(i, "DOWN")
	}
	held := make(chan reply, 1)
	go func() { held <- r.do("POST", "/api/v1/pods", "{}") }()
	r.awaitInFlight(1)
	r.Servers[0].Up()
	if got := <-held; got.Code != 201 || r.received("POST /api/v1/pods") != 1 {
		t.Errorf("a held create: %+v, received %d times, want it made once", got, r.received("POST /api/v1/pods"))
	}
}

// awaitInFlight waits until n requests are in flight.
func (r *relay) awaitInFlight(n int64) {
	r.t.Helper()
	r.await(fmt.Sprintf("%d requests in flight", n), func() bool { return r.Daemon.Status().InFlight.Requests == n })
}

// TestNothingToWaitFor has no server that ever was READY: a request is told so
// at once, and why; and not to come back when no server will ever do.
func TestNothingToWaitFor(t *testing.T) {
	for name, c := range map[string]struct {
		spoil      func(*fakeapi.Server)
		why        string
		retryAfter string
	}{
		"refused":     {(*fakeapi.Server).Down, "DOWN (connection refused)", "1"},
		"certificate": {func(s *fakeapi.Server) { s.SetCertificate(fakeapi.OtherCA) }, "MISCONFIGURED (certificate", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := fakeapi.New(t, fakeapi.Options{})
			c.spoil(s)
			r := start(t, nil, func(cfg *config.Configuration) {
				*cfg = *configuration([]*fakeapi.Server{s})
				cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = time.Minute
			})
			r.Servers = []*fakeapi.Server{s}
			r.awaitState(0, strings.Fields(c.why)[0])
			begun := time.Now()
			got := r.do("GET", "/api/v1/pods", "")
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("answered after %v, want no wait", took)
			}
			if got.Code != 503 || !strings.Contains(got.Body, c.why) || got.Header.Get("Retry-After") != c.retryAfter {
				t.Errorf("answer %d, Retry-After %q, %s; want 503, %q and %q in it", got.Code, got.Header.Get("Retry-After"), got.Body, c.retryAfter, c.why)
			}
		})
	}
}

// TestAllReadyzRed has etcd trouble: every server says not ready and answers.
func TestAllReadyzRed(t *testing.T) {
	r := start(t, servers(t, 2))
	r.all("GET /api/v1/pods", fakeapi.Text(200, "from the cache"))
	for _, s := range r.Servers {
		s.FailReadyz("etcd", "etcd-readiness")
		s.FailLivez("etcd")
	}
	for i := range r.Servers {
		r.awaitState(i, "DEGRADED")
	}
	for range 50 {
		if got := r.do("GET", "/api/v1/pods", ""); got.Code != 200 {
			t.Fatalf("read: %+v", got)
		}
	}
}

// TestMisconfiguredGetsNoByte shows certificates that must not be accepted.
func TestMisconfiguredGetsNoByte(t *testing.T) {
	for name, kind := range map[string]fakeapi.Certificate{
		"other CA": fakeapi.OtherCA, "wrong name": fakeapi.WrongName, "expired": fakeapi.Expired,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, servers(t, 2))
			r.all("GET /api/v1/pods", fakeapi.Text(200, "fine"))
			bound := r.bound()
			r.Servers[bound].SetCertificate(kind)
			r.Servers[bound].CutConnections()
			seen := len(r.Servers[bound].Requests())
			for range 10 {
				if got := r.do("GET", "/api/v1/pods", ""); got.Code != 200 {
					t.Errorf("read: %+v", got)
				}
			}
			r.awaitState(bound, "MISCONFIGURED")
			if now := len(r.Servers[bound].Requests()); now != seen {
				t.Errorf("%d requests reached the server with the bad certificate", now-seen)
			}
			if reason := r.state(bound).Reason; !strings.Contains(reason, "certificate") {
				t.Errorf("reason %q, want it to name the certificate", reason)
			}
			if r.Logs.FilterMessage("API server is MISCONFIGURED").Len() != 1 {
				t.Error("not one log line for the change of state")
			}
		})
	}
}

// TestServersOfTwoClustersAreRefusedAtStart names another cluster's server.
func TestServersOfTwoClustersAreRefusedAtStart(t *testing.T) {
	ca := fakeapi.NewCA(t)
	mine := fakeapi.New(t, fakeapi.Options{CA: ca, UID: "mine"})
	other := fakeapi.New(t, fakeapi.Options{CA: ca, UID: "other"})
	d := newDaemon(t, configuration([]*fakeapi.Server{mine, other}))
	err := d.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), `cluster "test": servers`) || !strings.Contains(err.Error(), mine.Addr) || !strings.Contains(err.Error(), other.Addr) {
		t.Errorf("start: %v, want an error that names the cluster and both servers", err)
	}
}

// TestServerOfAnotherClusterIsMisconfiguredLater starts while it is away.
func TestServerOfAnotherClusterIsMisconfiguredLater(t *testing.T) {
	ca := fakeapi.NewCA(t)
	mine := fakeapi.New(t, fakeapi.Options{CA: ca, UID: "mine"})
	other := fakeapi.New(t, fakeapi.Options{CA: ca, UID: "other"})
	other.Down()
	r := start(t, []*fakeapi.Server{mine}, func(cfg *config.Configuration) {
		cfg.Clusters[0].Servers = []string{other.URL}
	})
	r.Servers = append(r.Servers, other)
	r.awaitState(1, "DOWN")
	other.Up()
	r.awaitState(1, "MISCONFIGURED")
	mine.Down()
	r.awaitState(0, "DOWN")
	other.Handle("GET /api/v1/pods", fakeapi.Text(200, "of another cluster"))
	if got := r.do("GET", "/api/v1/pods", ""); got.Code != 503 {
		t.Errorf("answer %+v, want 503 rather than another cluster's", got)
	}
}
