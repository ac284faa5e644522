//go:build page

package page

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/admin"
)

// relay is a real admin server, and what it says is going on.
type relay struct {
	t      *testing.T
	base   string // http://127.0.0.1:PORT/
	addr   string
	now    atomic.Pointer[admin.Status]
	asked  atomic.Int64 // how often the status was
	server *admin.Server
}

func startRelay(t *testing.T, s admin.Status) *relay {
	t.Helper()
	r := &relay{t: t, addr: "127.0.0.1:0"}
	r.set(s)
	r.start()
	t.Cleanup(r.stop)
	r.addr = r.server.Addr().String()
	r.base = "http://" + r.addr + "/"
	return r
}

func (r *relay) set(s admin.Status) { r.now.Store(&s) }

func (r *relay) start() {
	r.t.Helper()
	server, err := admin.New(admin.Config{Address: r.addr}, admin.Options{
		Status:   func() admin.Status { r.asked.Add(1); return *r.now.Load() },
		Ready:    func() error { return nil },
		Registry: admin.NewMetrics(admin.Build{Version: "v0.3.0"}).Registry(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := server.Start(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.server = server
}

func (r *relay) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a browser keeps its connections
	_ = r.server.Shutdown(ctx)
}

// began is the time that all fixtures are of.
var began = time.Now().UTC().Truncate(time.Second)

// busy is a bastion host's status on an eventful day.
func busy() admin.Status {
	now := began
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	wave := func(base float64, n int) []float64 {
		points := make([]float64, n)
		for i := range points {
			points[i] = base + base*float64((i*7)%13)/13
		}
		return points
	}
	slow := wave(9, 59)
	slow[40], slow[41], slow[42], slow[50] = 240, 180, 90, 0
	s := admin.Status{
		Version: "v0.3.0", Node: "bastion-1", StartedAt: ago(77 * time.Hour), UptimeSeconds: 77 * 3600,
		Clusters: []admin.ClusterStatus{
			{Name: "prod", Ready: true, Policy: "sticky", Upstreams: []admin.UpstreamStatus{
				{ID: "10.0.0.11:6443", URL: "https://10.0.0.11:6443", Source: "kubeconfig", State: "READY", Since: ago(77 * time.Hour), Breaker: "closed", InFlight: 3, Streams: 48, Weight: 1, Latency: wave(4, 59)},
				{ID: "10.0.0.12:6443", URL: "https://10.0.0.12:6443", Source: "discovered", State: "DOWN", Since: ago(42 * time.Second), Reason: "connect: connection refused, 3 of 3 probes failed", Breaker: "open",
					Weight: 1, LastError: "Get \"https://10.0.0.12:6443/readyz\": dial tcp 10.0.0.12:6443: connect: connection refused", Latency: slow},
				{ID: "10.0.0.13:6443", URL: "https://10.0.0.13:6443", Source: "discovered", State: "READY", Since: ago(20 * time.Second), Breaker: "closed", Draining: true, Streams: 2, Weight: .4, Latency: []float64{4, 5, 4, 6, 5}},
			}},
			{Name: "staging", Ready: true, Policy: "least-request", Upstreams: []admin.UpstreamStatus{
				{ID: "api.staging.example.org:6443", Source: "kubeconfig", State: "DEGRADED", Since: ago(9 * time.Minute), Reason: "readyz answers 500: [-]etcd failed", Breaker: "half-open", InFlight: 1, Weight: 1},
			}},
		},
		Listeners: []admin.ListenerStatus{
			{Name: "team", Address: "127.0.0.1:8443", Mode: "shared", Cluster: "prod", TLS: true, Identify: []string{"bearer", "certificate", "oidc"}},
			{Name: "local", Address: "127.0.0.1:8001", Mode: "shared", Cluster: "prod", Identify: []string{"uid"}},
		},
		InFlight: admin.InFlightStatus{Requests: 4, Watches: 47, Logs: 2, Upgrades: 1},
		Config: &admin.ConfigStatus{File: "/etc/kuberelay/config.yaml", Hash: "5f2c61e8a1b3c4d5e6f708192a3b4c5d", LoadedAt: ago(2 * time.Hour),
			LastReload: &admin.ReloadStatus{At: ago(5 * time.Minute), Error: "config.yaml:31: clients[2].grants[0].policy: there is no policy \"readonly\", did you mean \"read-only\"?\nconfig.yaml:40: listeners[1].address: is in use"}},
		Clients: []admin.ClientStatus{
			{Name: "alice", InFlight: 2, Watches: 30, Requests: 48211, LastSeen: ago(time.Second)},
			{Name: "ci-deploy", InFlight: 2, Watches: 17, Upgrades: 1, Requests: 1204533, LastSeen: now},
			{Name: "mallory", Requests: 12, Revoked: true, RevokedUntil: now.Add(22*time.Hour + 30*time.Minute), LastSeen: ago(3 * time.Hour)},
			{Name: "dave"},
		},
		ClientsTotal: 48,
		Credentials: []admin.CredentialStatus{
			{Name: "prod-broker", ExpiresAt: now.Add(340*24*time.Hour + time.Hour)},
			{Name: "eks", ExpiresAt: ago(time.Minute), Error: "the last refresh failed; the log says why"},
			{Name: "prod-cert"},
		},
		Audit: &admin.AuditStatus{Blocks: true, Error: "audit log /var/log/kuberelay/audit.jsonl: no space left on device"},
		Peers: []admin.PeerStatus{
			{Name: "bastion-1", Address: "10.1.0.1:7946", Self: true, State: "alive", Version: "v0.3.0", ConfigHash: "5f2c61e8a1b3c4d5e6f708192a3b4c5d", KeyIDs: []string{"3f9a"}, UDP: "ok"},
			{Name: "bastion-2", Address: "10.1.0.2:7946", State: "alive", Version: "v0.3.0", ConfigHash: "77aa61e8a1b3c4d5e6f708192a3b4c5d", KeyIDs: []string{"3f9a"}, AdminAddress: "10.1.0.2:9801", LastHeard: ago(time.Second), UDP: "blocked",
				Observations: []admin.ObservationStatus{{Cluster: "prod", Upstream: "10.0.0.11:6443", State: "READY"}, {Cluster: "prod", Upstream: "10.0.0.12:6443", State: "DOWN"}}},
			{Name: "bastion-3", Address: "10.1.0.3:7946", NameConflict: "10.1.0.9:7946", State: "dead", Version: "v0.2.9", ConfigHash: "5f2c61e8a1b3c4d5e6f708192a3b4c5d", KeyIDs: []string{"3f9a"}, LastHeard: ago(10 * time.Minute), UDP: "unknown",
				Observations: []admin.ObservationStatus{{Cluster: "prod", Upstream: "10.0.0.12:6443", State: "READY"}}},
		},
		Events: []admin.Event{
			{At: ago(42 * time.Second), Kind: "state", Cluster: "prod", Upstream: "10.0.0.12:6443", Text: "DOWN, was SUSPECT: connect: connection refused"},
			{At: ago(43 * time.Second), Kind: "breaker", Cluster: "prod", Upstream: "10.0.0.12:6443", Text: "the circuit breaker is open, was closed"},
			{At: ago(5 * time.Minute), Kind: "reload", Text: "the configuration file is refused, the one before stays in force"},
			{At: ago(6 * time.Minute), Kind: "drain", Cluster: "prod", Upstream: "10.0.0.13:6443", Text: "taken out of use"},
			{At: ago(3 * time.Hour), Kind: "revoke", Client: "mallory", Text: "revoked for 26h: laptop stolen; 3 requests cut"},
			{At: ago(77 * time.Hour), Kind: "process", Text: "started"},
		},
	}
	return s
}

// calm is a status in which all is well.
func calm() admin.Status {
	s := busy()
	s.Clusters = s.Clusters[:1]
	for i := range s.Clusters[0].Upstreams {
		u := &s.Clusters[0].Upstreams[i]
		u.State, u.Reason, u.Breaker, u.LastError, u.Draining, u.Weight = "READY", "", "closed", "", false, 1
	}
	s.Config.LastReload = nil
	s.Audit.Error = ""
	s.Credentials = s.Credentials[:1]
	s.Peers = nil
	s.Events = s.Events[5:]
	return s
}

// crowd is a calm status with many clients.
func crowd(n int) admin.Status {
	s := calm()
	s.Clients = nil
	for i := range n {
		s.Clients = append(s.Clients, admin.ClientStatus{Name: fmt.Sprintf("client-%03d", i), Requests: 1, LastSeen: s.StartedAt})
	}
	s.ClientsTotal = n
	return s
}
