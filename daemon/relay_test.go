package daemon_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

const testToken = "canary-token-0123456789"

// relay is a daemon in front of fake API servers.
type relay struct {
	t       testing.TB
	Daemon  *daemon.Daemon
	Servers []*fakeapi.Server
	URL     string
	Logs    *observer.ObservedLogs
	Client  *http.Client // keeps its connections, follows and retries nothing
}

// servers starts n fake API servers of one cluster.
func servers(t testing.TB, n int) []*fakeapi.Server {
	ca := fakeapi.NewCA(t)
	var all []*fakeapi.Server
	for range n {
		all = append(all, fakeapi.New(t, fakeapi.Options{CA: ca}))
	}
	return all
}

// configuration fronts the servers, as `kuberelay proxy` would, without
// discovery and on a free port.
func configuration(servers []*fakeapi.Server) *config.Configuration {
	cfg := &config.Configuration{
		Clusters: []config.Cluster{{
			Name: "test",
			Connection: config.Connection{
				Load: func() (*rest.Config, error) {
					return &rest.Config{
						Host:            servers[0].URL,
						BearerToken:     testToken,
						TLSClientConfig: rest.TLSClientConfig{CAData: servers[0].CAPEM},
					}, nil
				},
			},
			Discovery:   config.Discovery{Mode: config.DiscoverNone, Interval: time.Second},
			Balancer:    balancer.DefaultConfig(),
			HealthCheck: health.DefaultConfig(),
		}},
		Listeners: []config.Listener{{
			Name: "proxy", Address: "127.0.0.1:0", Cluster: "test", Mode: config.Single,
			Filter: filter.DefaultConfig(), APIPrefix: "/", StaticPrefix: "/static/",
		}},
		Admin: admin.Config{Address: "127.0.0.1:0"},
		Grace: 5 * time.Second,
	}
	for _, s := range servers[1:] {
		cfg.Clusters[0].Servers = append(cfg.Clusters[0].Servers, s.URL)
	}
	return cfg
}

// start runs a daemon until the test ends, and waits until all its servers
// are READY.
func start(t testing.TB, servers []*fakeapi.Server, edit ...func(*config.Configuration)) *relay {
	t.Helper()
	cfg := &config.Configuration{}
	if len(servers) > 0 {
		cfg = configuration(servers)
	}
	for _, e := range edit {
		e(cfg)
	}
	core, logs := observer.New(zap.DebugLevel)
	d, err := daemon.New(cfg, daemon.Options{Log: zap.New(core), Version: "v0-test"})
	if err != nil {
		t.Fatal(err)
	}
	r := relayOf(t, d, servers, logs)
	r.start()
	return r
}

// state is what the status says of a server.
func (r *relay) state(server int) admin.UpstreamStatus {
	r.t.Helper()
	for _, u := range r.Daemon.Status().Clusters[0].Upstreams {
		if u.ID == r.Servers[server].Addr {
			return u
		}
	}
	r.t.Fatalf("server %d is not in the status", server)
	return admin.UpstreamStatus{}
}

// awaitState waits until the status shows a server in a state.
func (r *relay) awaitState(server int, want string) {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.state(server).State != want {
		if time.Now().After(deadline) {
			r.t.Fatalf("server %d is %+v, want %s", server, r.state(server), want)
		}
		<-tick.C
	}
}

// reply is a response that was read whole.
type reply struct {
	Code   int
	Header http.Header
	Body   string
	Err    error
}

// do sends one request; a body makes it whatever method is given.
func (r *relay) do(method, path, body string, headers ...string) reply {
	r.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = struct{ io.Reader }{strings.NewReader(body)} // net/http cannot rewind it
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.URL+path, reader)
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.ContentLength = int64(len(body))
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return reply{Err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{Code: resp.StatusCode, Header: resp.Header, Body: string(b), Err: err}
}

// bound is the server that the sticky policy uses for this relay's client.
func (r *relay) bound() int {
	r.t.Helper()
	const path = "/api/v1/nodes/which"
	before := make([]int, len(r.Servers))
	for i, s := range r.Servers {
		before[i] = len(s.Requests("GET " + path))
	}
	r.do("GET", path, "")
	for i, s := range r.Servers {
		if len(s.Requests("GET "+path)) > before[i] {
			return i
		}
	}
	r.t.Fatal("the request reached no server")
	return -1
}

// all registers one handler sequence on every server.
func (r *relay) all(pattern string, handlers ...http.Handler) {
	for _, s := range r.Servers {
		s.Handle(pattern, handlers...)
	}
}

// received counts the requests that reached the servers, in all.
func (r *relay) received(pattern string) int {
	n := 0
	for _, s := range r.Servers {
		n += len(s.Requests(pattern))
	}
	return n
}

// transportFor reaches a fake API server without kuberelay.
func transportFor(t testing.TB, s *fakeapi.Server) *http.Transport {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CAPEM) {
		t.Fatal("no certificate in the CA's PEM")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// awaitStatus waits until something holds of a daemon's status.
func awaitStatus(t testing.TB, d *daemon.Daemon, what string, holds func(admin.Status) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); !holds(d.Status()); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s; status %+v", what, d.Status())
		}
	}
}

// newDaemon builds a daemon that is stopped with the test.
func newDaemon(t testing.TB, cfg *config.Configuration) *daemon.Daemon {
	t.Helper()
	d, err := daemon.New(cfg, daemon.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return d
}

// start starts the daemon and waits until all its servers are READY.
func (r *relay) start() {
	r.t.Helper()
	if err := r.Daemon.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if addr := r.Daemon.Addr("proxy"); addr != nil {
		r.URL = "http://" + addr.String()
	}
	for i := range r.Servers {
		r.awaitState(i, "READY")
	}
}

// relayOf wraps a daemon, and stops it with the test.
func relayOf(t testing.TB, d *daemon.Daemon, servers []*fakeapi.Server, logs *observer.ObservedLogs) *relay {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			for _, e := range logs.All() {
				t.Logf("%s %s %v", e.Level, e.Message, e.ContextMap())
			}
		}
	})
	return &relay{t: t, Daemon: d, Servers: servers, Logs: logs, Client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// await waits until something holds.
func (r *relay) await(what string, holds func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			r.t.Fatalf("within 10 s: not %s", what)
		}
		<-tick.C
	}
}
