package daemon_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// changing is a host whose configuration a test changes.
type changing struct {
	*relay
	h       *hosts
	name    string
	clients []string
	edit    func(*config.Configuration) // nil: none
}

func (h *hosts) changing(name string, edit func(*config.Configuration), clients ...string) *changing {
	h.t.Helper()
	c := &changing{h: h, name: name, clients: clients, edit: edit}
	c.restart()
	return c
}

func (c *changing) load() (*config.Configuration, error) {
	cfg := c.h.configuration(c.name, c.clients...)
	if c.edit != nil {
		c.edit(cfg)
	}
	return cfg, nil
}

// restart starts the host, for the first time or again.
func (c *changing) restart() {
	t := c.h.t
	t.Helper()
	if c.relay != nil {
		c.h.stop(c.relay)
	}
	core, logs := observer.New(zap.InfoLevel)
	cfg, _ := c.load()
	d, err := daemon.New(cfg, daemon.Options{Log: zap.New(core), ConfigFile: c.h.file(c.name+".yaml", ""), Load: c.load})
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, Daemon: d, Servers: c.h.servers, Logs: logs, Client: http.DefaultClient}
	c.relay = r
	t.Cleanup(func() { c.h.stop(r) })
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.URL = "http://" + d.Addr("proxy").String()
	if peers := d.Status().Peers; c.h.seed == "" && len(peers) > 0 {
		c.h.seed = peers[0].Address
	}
}

func (c *changing) reload(edit func(*config.Configuration), clients ...string) {
	c.h.t.Helper()
	c.edit, c.clients = edit, clients
	if _, err := c.Daemon.Reload(c.h.t.Context()); err != nil {
		c.h.t.Fatal(err)
	}
}

func (c *changing) revoke(client string) {
	c.h.t.Helper()
	if _, err := c.Daemon.Revoke(client, time.Time{}, ""); err != nil {
		c.h.t.Fatal(err)
	}
}

func (c *changing) lift(client string) {
	c.h.t.Helper()
	if err := c.Daemon.Unrevoke(client); err != nil {
		c.h.t.Fatal(err)
	}
}

func (c *changing) drain(server string, on bool) {
	c.h.t.Helper()
	if err := c.Daemon.Drain("of-"+c.name, server, on); err != nil {
		c.h.t.Fatal(err)
	}
}

func firstServerAlone(c *config.Configuration) { c.Clusters[0].Servers = nil }

func noGossip(c *config.Configuration) { c.Gossip = gossip.Config{} }

// TestLiftReachesAHostThatHasNotGotTheClient: it is no longer revoked there
// when it is configured again.
func TestLiftReachesAHostThatHasNotGotTheClient(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	a, b := h.changing("a", nil, "alice", "late"), h.changing("b", nil, "alice", "late")
	h.eventually("a sees b", a.relay, sees(1))
	a.revoke("late")
	h.eventually("revoked on b", b.relay, revoked("late", true))
	b.reload(nil, "alice")
	a.lift("late")
	a.revoke("alice")
	h.eventually("b has heard it", b.relay, revoked("alice", true))
	b.reload(nil, "alice", "late")
	h.eventually("let in on b", b.relay, revoked("late", false))
	if got := b.code(pods, "token-of-late"); got != http.StatusOK {
		t.Errorf("late on b: %d", got)
	}
	b.restart()
	if !revoked("late", false)(b.Daemon.Status()) {
		t.Error("late is revoked again after a restart")
	}
}

// TestUndrainOfAServerThatIsNotConfigured: here, or on another host.
func TestUndrainOfAServerThatIsNotConfigured(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 3)
	a, b := h.changing("a", nil, "alice"), h.changing("b", nil, "alice")
	h.eventually("a sees b", a.relay, sees(1))
	server := h.servers[1].Addr
	for _, away := range []*changing{a, b} {
		a.drain(server, true)
		h.eventually("drained on b", b.relay, draining(server, true))
		away.reload(firstServerAlone, "alice")
		a.drain(server, false)
		away.reload(nil, "alice")
		for _, c := range []*changing{a, b} {
			h.eventually("in use on "+c.name, c.relay, draining(server, false))
		}
	}
	if err := a.Daemon.Drain("of-a", "10.9.9.9:6443", false); err == nil {
		t.Error("a server was undrained that nobody knows")
	}
}

// TestServerOfTwoClusters: a drain holds in both, and peers hear the worse of
// what both see.
func TestServerOfTwoClusters(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	var ready atomic.Bool
	h.servers[1].Handle("GET /readyz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	h.servers[0].Handle("GET /never", fakeapi.Text(500, "no"))
	h.servers[1].Handle("GET /never", fakeapi.Text(500, "no"))
	twice := func(c *config.Configuration) {
		second := c.Clusters[0]
		second.Name, second.HealthCheck.Path = "second", "/never"
		c.Clusters = append(c.Clusters, second)
	}
	a, b := h.changing("a", twice, "alice"), h.changing("b", twice, "alice")
	h.eventually("a sees b", a.relay, sees(1))
	server := h.servers[1].Addr
	drained := func(s admin.Status) (n int) {
		for _, c := range s.Clusters {
			for _, u := range c.Upstreams {
				if u.ID == server && u.Draining {
					n++
				}
			}
		}
		return n
	}
	for _, cluster := range []string{"of-a", "second"} {
		if err := a.Daemon.Drain(cluster, server, true); err != nil {
			t.Fatal(err)
		}
		if n := drained(a.Daemon.Status()); n != 2 {
			t.Errorf("a drain of %s: drained in %d clusters of a's, want both", cluster, n)
		}
		h.eventually("drained in both clusters of b", b.relay, func(s admin.Status) bool { return drained(s) == 2 })
		if err := a.Daemon.Drain(cluster, server, false); err != nil {
			t.Fatal(err)
		}
		h.eventually("drained in neither", b.relay, func(s admin.Status) bool { return drained(s) == 0 })
	}

	happened := func(cluster, state string) func(admin.Status) bool {
		return func(s admin.Status) bool {
			for _, e := range s.Events {
				if e.Cluster == cluster && e.Upstream == server && strings.HasPrefix(e.Text, state) {
					return true
				}
			}
			return false
		}
	}
	h.eventually("not ready for the second", a.relay, happened("second", "DEGRADED"))
	h.eventually("not ready for the first", a.relay, happened("of-a", "DEGRADED"))
	ready.Store(true)
	h.eventually("ready for the first", a.relay, happened("of-a", "READY"))
	for _, o := range a.Daemon.Status().Peers[0].Observations {
		if o.Upstream == server && o.State != "DEGRADED" {
			t.Errorf("a tells that the server is %s, want the worse of its two states", o.State)
		}
	}
}

// TestDecisionsOfATimeWithoutGossip hold afterwards, and on the other hosts.
func TestDecisionsOfATimeWithoutGossip(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	clients := []string{"alice", "bob", "carol"}
	b := h.changing("b", nil, clients...)
	a := h.changing("a", nil, clients...)
	h.eventually("b sees a", b.relay, sees(1))
	a.revoke("alice")
	a.revoke("bob")
	a.lift("bob")
	if _, err := a.Daemon.Revoke("carol", time.Now().Add(time.Hour), ""); err != nil {
		t.Fatal(err)
	}
	a.drain(h.servers[1].Addr, true)
	h.eventually("all of it is known to b", b.relay, func(s admin.Status) bool {
		return revoked("alice", true)(s) && revoked("bob", false)(s) && revoked("carol", true)(s) && draining(h.servers[1].Addr, true)(s)
	})

	a.edit = noGossip
	a.restart()
	a.lift("alice")
	a.revoke("bob")
	a.revoke("carol") // for good, now
	a.drain(h.servers[1].Addr, false)
	a.drain(h.servers[0].Addr, true)

	a.edit = nil
	a.restart()
	for _, c := range []*changing{a, b} {
		h.eventually("what was decided last, on "+c.name, c.relay, func(s admin.Status) bool {
			forGood := false
			for _, client := range s.Clients {
				forGood = forGood || client.Name == "carol" && client.Revoked && client.RevokedUntil.IsZero()
			}
			return forGood && revoked("alice", false)(s) && revoked("bob", true)(s) &&
				draining(h.servers[1].Addr, false)(s) && draining(h.servers[0].Addr, true)(s)
		})
	}
}

// TestDecisionsOfAHostThatHasYetToJoin: a revocation wins, however many
// decisions the others have made that the host does not know. A lift does not
// win over a revocation that it does not know.
func TestDecisionsOfAHostThatHasYetToJoin(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	b, c := h.changing("b", nil, "alice", "bob"), h.changing("c", nil, "alice", "bob")
	h.eventually("b sees c", b.relay, sees(1))
	for range 3 {
		b.revoke("alice")
		b.lift("alice")
	}
	seed := h.seed
	h.seed = ""
	a := h.changing("a", nil, "alice", "bob")
	a.revoke("alice")
	a.revoke("bob")
	a.lift("bob")
	b.revoke("bob")
	h.seed = seed
	a.reload(nil, "alice", "bob") // now it knows where b is
	for _, host := range []*changing{a, b, c} {
		h.eventually("both revoked on "+host.name, host.relay, func(s admin.Status) bool {
			return revoked("alice", true)(s) && revoked("bob", true)(s) && sees(2)(s)
		})
	}
}

// TestSimultaneousDecisionsAgree: whichever wins, it does so everywhere.
func TestSimultaneousDecisionsAgree(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	var clients []string
	for i := range 60 {
		clients = append(clients, fmt.Sprintf("client-%02d", i))
	}
	a, b := h.changing("a", nil, clients...), h.changing("b", nil, clients...)
	h.eventually("a sees b", a.relay, sees(1))
	h.eventually("b sees a", b.relay, sees(1))
	for i, client := range clients {
		var both sync.WaitGroup
		for _, c := range []*changing{a, b} {
			both.Go(func() {
				var err error
				if c == a == (i%2 == 0) {
					_, err = c.Daemon.Revoke(client, time.Time{}, "")
				} else {
					err = c.Daemon.Unrevoke(client)
				}
				if err != nil {
					t.Error(err)
				}
				if _, err := c.Daemon.Revoke(client, time.Now().Add(time.Duration(i+1)*time.Hour), c.name); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
	}
	until := func(s admin.Status) string {
		all := make(map[string]time.Time)
		for _, c := range s.Clients {
			all[c.Name] = c.RevokedUntil
		}
		return fmt.Sprint(all)
	}
	h.eventually("a and b agree", a.relay, func(s admin.Status) bool { return until(s) == until(b.Daemon.Status()) })
}

// TestDrainDuringAReload: the clusters that it makes have it, too.
func TestDrainDuringAReload(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 2)
	server := h.servers[1].Addr
	reading := make(chan struct{})
	a := h.changing("a", nil, "alice")
	for i := range 40 {
		a.edit = func(c *config.Configuration) {
			c.Clusters[0].HealthCheck.Interval = 2*time.Second + time.Duration(i)*time.Millisecond
			reading <- struct{}{}
		}
		var reload sync.WaitGroup
		reload.Go(func() {
			if _, err := a.Daemon.Reload(t.Context()); err != nil {
				t.Error(err)
			}
		})
		<-reading
		on := i%2 == 0
		for range i {
			a.Daemon.Status() // a while, that differs
		}
		a.drain(server, on)
		reload.Wait()
		if !draining(server, on)(a.Daemon.Status()) {
			t.Fatalf("round %d: drained is not %v after the reload", i, on)
		}
	}
}

// TestObservationsOutliveAChangeOfTheAuthority: by it the server has another
// name among the peers.
func TestObservationsOutliveAChangeOfTheAuthority(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	another, _ := fakeapi.NewCA(t).ServerCertificate(t)
	path := h.file("kubeconfig", "first")
	a := h.changing("a", func(c *config.Configuration) {
		connection := &c.Clusters[0].Connection
		load := connection.Load
		connection.Files = func() []string { return []string{path} }
		connection.Load = func() (*rest.Config, error) {
			restConfig, err := load()
			if err != nil {
				return nil, err
			}
			now, err := os.ReadFile(path)
			if string(now) == "second" {
				restConfig.CAData = slices.Concat(restConfig.CAData, another)
			}
			return restConfig, err
		}
	}, "alice")
	observed := func(s admin.Status) bool {
		return len(s.Peers[0].Observations) == 1 && s.Peers[0].Observations[0].State == "READY"
	}
	h.eventually("a tells what it sees", a.relay, observed)
	name := func() string { // among the peers
		a.drain(h.servers[0].Addr, true)
		state, err := os.ReadFile(filepath.Join(h.dir, "a.json"))
		if err != nil {
			t.Fatal(err)
		}
		a.drain(h.servers[0].Addr, false)
		var content struct{ Drained []struct{ Key string } }
		if err := json.Unmarshal(state, &content); err != nil || len(content.Drained) != 1 {
			t.Fatalf("the state file says %s (%v)", state, err)
		}
		return content.Drained[0].Key
	}
	first := name()
	h.file("kubeconfig", "second")
	h.eventually("the other authority", a.relay, func(admin.Status) bool { return name() != first })
	a.reload(a.edit, "alice")
	if s := a.Daemon.Status(); !observed(s) {
		t.Errorf("a tells %+v", s.Peers[0].Observations)
	}
}

// TestStoppingHostHearsOfRevocations until nothing is in flight there, and is
// known to go from the beginning.
func TestStoppingHostHearsOfRevocations(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	a, b := h.changing("a", nil, "alice"), h.changing("b", nil, "alice")
	h.eventually("a sees b", a.relay, sees(1))
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	h.servers[0].Handle("GET "+pods, fakeapi.Until(release, fakeapi.Text(200, "late")))
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+pods, nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer token-of-alice")
		if resp, err := b.Client.Do(req); err == nil {
			resp.Body.Close()
		}
	})
	h.eventually("a request on b", b.relay, func(s admin.Status) bool { return s.InFlight.Requests == 1 })
	work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Daemon.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	h.eventually("a knows that b goes", a.relay, func(s admin.Status) bool {
		return len(s.Peers) == 2 && s.Peers[1].State == admin.PeerLeft
	})
	a.revoke("alice")
	h.eventually("the request on b has ended", b.relay, func(s admin.Status) bool { return s.InFlight.Requests == 0 })
}

// TestTooManyDecisions: the operator is told that one holds here alone.
func TestTooManyDecisions(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	var full []gossip.Intent
	for i := range 4096 {
		full = append(full, gossip.Intent{
			Kind: gossip.Revoke, Target: gossip.ClientID(fmt.Sprint(i)), On: true, By: "x", Counter: uint64(i + 1),
		})
	}
	state, err := json.Marshal(map[string]any{"version": 1, "mesh": full})
	if err != nil {
		t.Fatal(err)
	}
	h.file("a.json", string(state))
	a, b := h.changing("a", nil, "alice"), h.changing("b", nil, "alice")
	h.eventually("a cannot tell the others", a.relay, func(admin.Status) bool {
		_, err := a.Daemon.Revoke("alice", time.Time{}, "")
		return err != nil && strings.Contains(err.Error(), "could not be told to the others")
	})
	if got := a.code(pods, "token-of-alice"); got != http.StatusUnauthorized {
		t.Errorf("alice on a: %d", got)
	}
	if got := b.code(pods, "token-of-alice"); got != http.StatusOK {
		t.Errorf("alice on b: %d", got)
	}
}

// TestOwnRevocationForAWhileIsNoNews: peers have its end in milliseconds.
func TestOwnRevocationForAWhileIsNoNews(t *testing.T) {
	t.Parallel()
	h := newHosts(t, 1)
	a, b := h.changing("a", nil, "alice", "bob"), h.changing("b", nil, "alice", "bob")
	h.eventually("a sees b", a.relay, sees(1))
	if _, err := a.Daemon.Revoke("alice", time.Now().Add(time.Hour).Truncate(time.Millisecond).Add(7), ""); err != nil {
		t.Fatal(err)
	}
	b.revoke("bob")
	h.eventually("a has heard b", a.relay, revoked("bob", true))
	a.reload(nil, "alice", "bob", "carol")
	n := 0
	for _, e := range a.Daemon.Status().Events {
		if e.Kind == admin.EventRevoke && e.Client == "alice" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("alice was revoked %d times, want once", n)
	}
}
