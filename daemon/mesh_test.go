package daemon_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// hosts are daemons on one machine that gossip with each other, in front of the
// same API servers, which each calls by a name of its own.
type hosts struct {
	t       testing.TB
	dir     string
	servers []*fakeapi.Server
	seed    string // where the first one is reached
	policy  balancer.Policy
}

func newHosts(t testing.TB, servers int) *hosts {
	h := &hosts{t: t, dir: t.TempDir(), policy: balancer.PolicySticky}
	h.servers = append(h.servers, newServers(t, servers)...)
	h.file("key", gossip.NewKey())
	h.file("broker", brokerToken)
	return h
}

func newServers(t testing.TB, n int) []*fakeapi.Server {
	all := servers(t, n)
	for _, s := range all {
		s.RequireToken(testToken, brokerToken)
		s.Watch(pods, fakeapi.Text(200, "fine"))
	}
	return all
}

func (h *hosts) file(name, content string) string {
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// configuration of the host of a name. Its cluster is called after it.
func (h *hosts) configuration(name string, clients ...string) *config.Configuration {
	cfg := configuration(h.servers)
	cluster := "of-" + name
	cfg.Clusters[0].Name = cluster
	cfg.Clusters[0].Balancer.Policy = h.policy
	cfg.Credentials = []auth.CredentialConfig{{Name: "broker", TokenFile: filepath.Join(h.dir, "broker")}}
	cfg.Policies = []policy.Config{{Name: "all", Rules: []policy.Rule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}}}
	for _, client := range clients {
		cfg.Clients = append(cfg.Clients, config.Client{
			Name: client, Match: []identify.Match{tokenMatch("token-of-" + client)},
			Grants: []config.Grant{{Cluster: cluster, Credential: "broker", Policy: "all"}},
		})
	}
	l := &cfg.Listeners[0]
	l.Cluster, l.Filter, l.Mode, l.Identify = cluster, filter.Config{}, config.Shared, []identify.Method{identify.Bearer}
	cfg.StateFile = filepath.Join(h.dir, name+".json")
	cfg.Gossip = gossip.Config{BindAddress: "127.0.0.1:0", NodeName: name, SecretKeyFiles: []string{filepath.Join(h.dir, "key")}}
	if h.seed != "" {
		cfg.Gossip.Peers = []string{h.seed}
	}
	return cfg
}

// start runs the daemon of a host until the test, or stop, ends it.
func (h *hosts) start(name string, clients ...string) *relay {
	h.t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	next := h.configuration(name, clients...)
	r := &relay{t: h.t, Servers: h.servers, Logs: logs, Client: http.DefaultClient}
	d, err := daemon.New(next, daemon.Options{
		Log: zap.New(core), ConfigFile: h.file(name+".yaml", ""),
		Load: func() (*config.Configuration, error) { return h.configuration(name, "alice", "bob", "late"), nil },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	r.Daemon = d
	h.t.Cleanup(func() { h.stop(r) })
	if err := d.Start(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	r.URL = "http://" + d.Addr("proxy").String()
	if h.seed == "" {
		h.seed = d.Status().Peers[0].Address
	}
	return r
}

func (h *hosts) stop(r *relay) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := r.Daemon.Stop(ctx); err != nil {
		h.t.Errorf("stop: %v", err)
	}
}

// eventually waits until something holds of a host's status.
func (h *hosts) eventually(what string, r *relay, holds func(admin.Status) bool) {
	h.t.Helper()
	awaitStatus(h.t, r.Daemon, what, holds)
}

// soon is eventually for what takes a second where nothing else runs, and five
// where much does.
func (h *hosts) soon(what string, r *relay, holds func(admin.Status) bool) {
	h.t.Helper()
	began := time.Now()
	h.eventually(what, r, holds)
	took := time.Since(began)
	h.t.Logf("%s after %v", what, took.Round(time.Millisecond))
	if took > 5*time.Second {
		h.t.Errorf("%s: after %v", what, took)
	}
}

func sees(n int) func(admin.Status) bool {
	return func(s admin.Status) bool {
		alive := 0
		for _, p := range s.Peers {
			if !p.Self && p.State == admin.PeerAlive {
				alive++
			}
		}
		return alive == n
	}
}

func draining(id string, want bool) func(admin.Status) bool {
	return func(s admin.Status) bool {
		for _, u := range s.Clusters[0].Upstreams {
			if u.ID == id {
				return u.Draining == want
			}
		}
		return false
	}
}

func revoked(client string, want bool) func(admin.Status) bool {
	return func(s admin.Status) bool {
		for _, c := range s.Clients {
			if c.Name == client {
				return c.Revoked == want
			}
		}
		return false
	}
}

func (r *relay) code(path, token string) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestDecisionsHoldOnAllHosts(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	a, b := h.start("a", "alice", "bob"), h.start("b", "alice", "bob")
	h.eventually("a sees b", a, sees(1))
	h.eventually("b sees a", b, sees(1))
	server := h.servers[1].Addr

	if err := a.Daemon.Drain("of-a", server, true); err != nil {
		t.Fatal(err)
	}
	h.soon("drained on b, whose cluster has another name", b, draining(server, true))
	if _, err := b.Daemon.Revoke("alice", time.Time{}, "lost"); err != nil {
		t.Fatal(err)
	}
	h.soon("revoked on a", a, revoked("alice", true))
	if got := a.code(pods, "token-of-alice"); got != http.StatusUnauthorized {
		t.Errorf("alice on a: %d", got)
	}
	if got := a.code(pods, "token-of-bob"); got != http.StatusOK {
		t.Errorf("bob on a: %d", got)
	}

	c := h.start("c", "alice") // comes later
	h.eventually("revoked on c", c, revoked("alice", true))
	h.eventually("drained on c", c, draining(server, true))

	if err := c.Daemon.Drain("of-c", server, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Daemon.Unrevoke("alice"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*relay{a, b} {
		h.soon("in use again", r, draining(server, false))
		h.soon("let in again", r, revoked("alice", false))
	}
	for _, e := range []struct {
		on   *relay
		kind string
		text string
	}{
		{b, admin.EventDrain, "drained"},
		{b, admin.EventDrain, "back in use"},
		{a, admin.EventRevoke, "revoked: lost"},
		{a, admin.EventRevoke, "may call again"},
	} {
		if !slices.ContainsFunc(e.on.Daemon.Status().Events, func(had admin.Event) bool { return had.Kind == e.kind && had.Text == e.text }) {
			t.Errorf("no event %s %q of a decision that was made elsewhere", e.kind, e.text)
		}
	}
}

// TestDecisionsOutliveAllHosts: each is stopped, and the first to come back has
// what the last one knew.
func TestDecisionsOutliveAllHosts(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	a, b := h.start("a", "alice", "bob"), h.start("b", "alice", "bob")
	h.eventually("a sees b", a, sees(1))
	if _, err := a.Daemon.Revoke("alice", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Daemon.Revoke("bob", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	h.eventually("revoked on b", b, revoked("bob", true))
	h.stop(a)
	if err := b.Daemon.Unrevoke("bob"); err != nil { // while a is away
		t.Fatal(err)
	}
	h.stop(b)

	h.seed = ""
	b = h.start("b", "alice", "bob")
	if s := b.Daemon.Status(); !revoked("alice", true)(s) || !revoked("bob", false)(s) {
		t.Errorf("b after a restart: %+v", s.Clients)
	}
	a = h.start("a", "alice", "bob")
	h.eventually("a hears what was decided while it was away", a, revoked("bob", false))
	if s := a.Daemon.Status(); !revoked("alice", true)(s) {
		t.Errorf("a after a restart: %+v", s.Clients)
	}
	if s := b.Daemon.Status(); !revoked("bob", false)(s) {
		t.Errorf("a has brought back what was lifted: %+v", s.Clients)
	}
}

// TestClientThatComesLaterIsRevoked: what was decided about a client holds on a
// host from the moment that it has the client.
func TestClientThatComesLaterIsRevoked(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	a, b := h.start("a", "alice", "late"), h.start("b", "alice")
	h.eventually("a sees b", a, sees(1))
	if _, err := a.Daemon.Revoke("late", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Daemon.Revoke("alice", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	h.eventually("b has heard of both", b, revoked("alice", true))
	if _, err := b.Daemon.Reload(t.Context()); err != nil { // now b has late, too
		t.Fatal(err)
	}
	if got := b.code(pods, "token-of-late"); got != http.StatusUnauthorized {
		t.Errorf("late on b: %d", got)
	}
}

// peer is a node of the mesh that is no daemon: it says what the test says.
func (h *hosts) peer(name string) *gossip.Mesh {
	h.t.Helper()
	c := gossip.Config{BindAddress: "127.0.0.1:0", NodeName: name, SecretKeyFiles: []string{filepath.Join(h.dir, "key")}}
	if h.seed != "" {
		c.Peers = []string{h.seed}
	}
	m, err := gossip.New(c, gossip.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			h.t.Errorf("stop %s: %v", name, err)
		}
	})
	if err := m.Start(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if h.seed == "" {
		h.seed = m.Addr().String()
	}
	return m
}

// says has a peer see a server in a state.
func (h *hosts) says(m *gossip.Mesh, s *fakeapi.Server, state gossip.State) {
	h.t.Helper()
	if err := m.Observe(gossip.Observation{Upstream: gossip.UpstreamID(s.URL, s.CAPEM), State: state}); err != nil {
		h.t.Fatal(err)
	}
}

// peerSees says that a peer's view of a server is in the status.
func peerSees(peer, server, state string) func(admin.Status) bool {
	return func(s admin.Status) bool {
		for _, p := range s.Peers {
			for _, o := range p.Observations {
				if p.Name == peer && o.Upstream == server && o.State == state {
					return true
				}
			}
		}
		return false
	}
}

// TestPeersWordTakesNoServerOut: a server that all peers call DOWN is probed,
// stays READY, and still gets requests. The status shows what the peers see.
func TestPeersWordTakesNoServerOut(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	h.policy = balancer.PolicyRoundRobin
	a := h.start("a", "alice")
	server := h.servers[1]
	for i := range h.servers {
		a.awaitState(i, "READY")
	}
	for _, name := range []string{"liar-1", "liar-2"} {
		h.says(h.peer(name), server, gossip.StateDown)
		h.eventually("a knows what "+name+" says", a, peerSees(name, server.Addr, "DOWN"))
	}
	probes := len(server.Requests("GET /readyz"))
	server.Await("GET /readyz", probes+2) // the word has been taken in by now
	if got := a.state(1); got.State != "READY" {
		t.Errorf("the server is %s (%s) on the word of peers", got.State, got.Reason)
	}
	for range 10 {
		if got := a.code(pods, "token-of-alice"); got != http.StatusOK {
			t.Fatalf("alice: %d", got)
		}
	}
	if got := len(server.Requests("GET " + pods)); got != 5 {
		t.Errorf("of 10 requests in turn %d went to the server, want 5", got)
	}
	for _, e := range a.Daemon.Status().Events {
		if e.Upstream == server.Addr && e.Kind == admin.EventState && !strings.HasPrefix(e.Text, "READY") {
			t.Errorf("the server was not READY all the time: %s", e.Text)
		}
	}
}

// TestTheStatusShowsWhoSeesWhat: each host finds out by itself, and shows what
// the other says.
func TestTheStatusShowsWhoSeesWhat(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	a, b := h.start("a", "alice"), h.start("b", "alice")
	h.eventually("a sees b", a, sees(1))
	h.eventually("a knows what b is, and no loopback address of it", a, func(s admin.Status) bool {
		return s.Peers[1].ConfigHash != "" && s.Peers[1].AdminAddress == ""
	})
	h.servers[1].Down()
	for _, r := range []*relay{a, b} {
		r.awaitState(1, "DOWN")
	}
	h.eventually("a knows what b sees", a, peerSees("b", h.servers[1].Addr, "DOWN"))
	h.servers[1].Up()
	for _, r := range []*relay{a, b} {
		r.awaitState(1, "READY")
	}
}

// TestTheStatusShowsTwoNodesOfOneName: at a third node, and at the one that came
// second.
func TestTheStatusShowsTwoNodesOfOneName(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	a := h.start("a", "alice")
	first := h.peer("twin")
	h.eventually("a sees the first", a, sees(1))
	second := h.start("twin", "alice")
	conflict := func(name, with string) func(admin.Status) bool {
		return func(s admin.Status) bool {
			for _, p := range s.Peers {
				if p.Name == name && p.NameConflict == with {
					return true
				}
			}
			return false
		}
	}
	h.eventually("a shows the second", a, conflict("twin", second.Daemon.Status().Peers[0].Address))
	h.eventually("the second shows the first", second, conflict("twin", first.Addr().String()))
}

// TestGossipIsSwitchedByARestartAlone: a reload says so, and changes nothing.
func TestGossipIsSwitchedByARestartAlone(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	cfg := h.configuration("a", "alice")
	d, err := daemon.New(cfg, daemon.Options{ConfigFile: h.file("a.yaml", ""), Load: func() (*config.Configuration, error) {
		without := h.configuration("a", "bob")
		without.Gossip = gossip.Config{}
		return without, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, Daemon: d, Client: http.DefaultClient}
	t.Cleanup(func() { h.stop(r) })
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reload(t.Context()); err == nil {
		t.Error("gossip was switched off by a reload")
	}
	if s := d.Status(); len(s.Clients) != 1 || s.Clients[0].Name != "alice" {
		t.Errorf("the refused reload has changed the clients: %+v", s.Clients)
	}
}
