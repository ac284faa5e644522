package daemon_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// open is what a client has open: a watch and a tunnel.
type open struct {
	watch  *openWatch
	tunnel *wire
}

func (r *team) open(token string) open {
	r.t.Helper()
	return open{r.watch(token), r.tunnelTo(token, podExec, websocket)}
}

// wantEnd wants both to end within a second, and a websocket to be told why.
func (o open) wantEnd() {
	o.watch.t.Helper()
	o.watch.wantEnd()
	if err := o.tunnel.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		o.watch.t.Fatal(err)
	}
	rest := o.tunnel.rest()
	if !strings.HasPrefix(rest, "\x88") || !strings.Contains(rest, "\x03\xf0") {
		o.watch.t.Errorf("before the tunnel's end came %q, want a close frame with 1008", rest)
	}
}

// TestSharedCuts ends what a client has open in every way there is, within a
// second each, while another's goes on; the audit log says why, once.
func TestSharedCuts(t *testing.T) {
	t.Parallel()
	everything := func(cfg *config.Configuration) *config.Client { return clientOf(cfg, "alice") }
	for name, c := range map[string]struct {
		reason   string
		cut      func(*team)
		code     int  // of the client's next request
		onlyExec bool // the watch goes on
	}{
		"revoked": {reason: "revoked", code: 401, cut: func(r *team) {
			if cut, err := r.Daemon.Revoke("alice", time.Time{}, "left"); err != nil || cut != 2 {
				r.t.Errorf("revoked: %d cut, %v; want 2", cut, err)
			}
		}},
		"revoked for an hour": {reason: "revoked", code: 401, cut: func(r *team) {
			if _, err := r.Daemon.Revoke("alice", time.Now().Add(time.Hour), ""); err != nil {
				r.t.Error(err)
			}
		}},
		"client removed": {reason: "removed", code: 401, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { cfg.Clients = slices.Delete(cfg.Clients, 0, 1) })
		}},
		"token removed": {reason: "removed", code: 401, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { everything(cfg).Match = everything(cfg).Match[1:] })
		}},
		"token given to another": {reason: "removed", code: 200, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) {
				everything(cfg).Match[0], clientOf(cfg, "dave").Match[0] = tokenMatch("new"), tokenMatch(aliceToken)
			})
		}},
		"token expires in the past": {reason: "expired", code: 401, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { everything(cfg).Match[0].Expires = time.Now().Add(-time.Minute) })
		}},
		"grant removed": {reason: "removed", code: 403, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { everything(cfg).Grants = everything(cfg).Grants[1:] })
		}},
		"method no longer accepted": {reason: "removed", code: 401, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) {
				cfg.Listeners[0].Identify = []identify.Method{identify.OIDC}
			})
		}},
		"policy narrowed": {reason: "policy", code: 403, onlyExec: true, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { everything(cfg).Grants[0].Policy = "read-only" })
		}},
		"policy of nothing": {reason: "policy", code: 403, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) {
				cfg.Policies = append(cfg.Policies, policy.Config{Name: "nothing", Rules: []policy.Rule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/nothing"}}}})
				everything(cfg).Grants[0].Policy = "nothing"
			})
		}},
		"another user": {reason: "policy", code: 200, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { everything(cfg).Grants[0].Impersonate.User = "alice2" })
		}},
		"one group less": {reason: "policy", code: 200, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { everything(cfg).Grants[0].Impersonate.Groups = []string{"dev"} })
		}},
		"another credential": {reason: "credential", code: 401, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { everything(cfg).Grants[0].Credential = "other" })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
				clientOf(cfg, "bob").Grants[0].Policy = "all"
			})
			watched := r.Servers[0].Watch(pods, fakeapi.Text(200, "fine"))
			r.all("GET "+podExec, fakeapi.Upgrade(greeting))
			alice, bob := r.open(aliceToken), r.open(bobToken)
			c.cut(r)
			cut := 2
			if c.onlyExec {
				cut = 1
				alice.watch.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
				alice.tunnel.rest()
			} else {
				alice.wantEnd()
			}
			if name != "method no longer accepted" { // which is not about alice alone
				bob.watch.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
				bob.tunnel.echoes()
			}
			ended := map[string]int{"alice": cut}
			if name == "method no longer accepted" {
				ended["bob"] = 2
			}
			r.awaitCut(c.reason, ended)
			if c.code != 0 && c.reason != "credential" {
				got := r.ask(t, "DELETE "+pods+"/p HTTP/1.1\nHost: localhost"+bearer(aliceToken))
				if got.Code != c.code {
					t.Errorf("the next request: %d %s, want %d", got.Code, got.Body, c.code)
				}
			}
		})
	}
}

// awaitCut waits for the events that say how many streams of each client were
// ended, and wants no other one to be ended from outside.
func (r *team) awaitCut(reason string, want map[string]int) {
	r.t.Helper()
	var got map[string]int
	r.await(fmt.Sprintf("%v streams ended as %s", want, reason), func() bool {
		got = map[string]int{}
		for _, e := range r.events("") {
			if e.Stage == "ResponseComplete" && e.Annotations["kuberelay/close-reason"] == reason {
				got[e.User.Username]++
			}
		}
		for client, n := range want {
			if got[client] < n {
				return false
			}
		}
		return true
	})
	if !maps.Equal(got, want) {
		r.t.Errorf("ended as %s: %v, want %v", reason, got, want)
	}
}

// TestSharedExpiryCuts ends what was opened with a token or a certificate that
// holds a moment longer.
func TestSharedExpiryCuts(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(2 * time.Second).Truncate(time.Second).Add(time.Second)
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		clientOf(cfg, "carol").Match[0].Expires = until
	})
	r.Servers[0].Watch(pods, nil)
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	alice, carol := r.open(aliceToken), r.open(carolToken)
	certified := r.connect("tls", r.certificateUntil("alice", until))
	certified.send(lines("GET " + pods + "?watch=1 HTTP/1.1\nHost: localhost"))
	resp, err := http.ReadResponse(certified.in, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	expired := time.NewTimer(time.Until(until))
	defer expired.Stop()
	select {
	case err := <-carol.watch.ended:
		t.Fatalf("the watch ended before its time: %v", err)
	case <-expired.C:
	}
	carol.wantEnd()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || time.Since(until) > 2*time.Second {
		t.Errorf("the watch of the expired certificate ended %v after that, with %v", time.Since(until), err)
	}
	alice.tunnel.echoes()
	r.awaitCut("expired", map[string]int{"carol": 2, "alice": 1})
	certified.send(lines("GET " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": expired"))
	if got := certified.receive("GET"); got.Code != 401 {
		t.Errorf("on the expired certificate's connection: answer %d %s", got.Code, got.Body)
	}
	if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": expired"+bearer(carolToken)); got.Code != 401 {
		t.Errorf("with the expired token: answer %d %s", got.Code, got.Body)
	}
	if arrived := r.arrived("expired"); len(arrived) != 0 {
		t.Errorf("arrived: %+v", arrived)
	}
}

// TestSharedRevocationEndsWhatWaits: for an API server that is held out for,
// and for the answer of one that has the request.
func TestSharedRevocationEndsWhatWaits(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = time.Minute
	})
	r.all("*", fakeapi.Never())
	ask := func(mark, token string) *wire {
		w := r.connect("proxy")
		w.send(lines("POST " + pods + " HTTP/1.1\nHost: localhost\nContent-Length: 0\n" + markHeader + ": " + mark + bearer(token)))
		return w
	}
	revoke := func() {
		t.Helper()
		if _, err := r.Daemon.Revoke("carol", time.Time{}, ""); err != nil {
			t.Fatal(err)
		}
	}
	waiting := ask("waiting", aliceToken)
	r.Servers[0].Await("POST "+pods, 1)
	if _, err := r.Daemon.Revoke("alice", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	if got := waiting.receive("POST"); got.Code != 401 || got.Header.Get("Retry-After") != "" {
		t.Errorf("waiting for an answer: %d %v", got.Code, got.Header)
	}

	r.Servers[0].Down()
	r.awaitState(0, "DOWN")
	held := ask("held", carolToken)
	r.await("carol's request is under way", func() bool {
		return slices.ContainsFunc(r.events(""), func(e event) bool { return e.User.Username == "carol" && e.Stage == "RequestReceived" })
	})
	started := time.Now()
	revoke()
	if got := held.receive("POST"); got.Code != 401 || time.Since(started) > time.Second {
		t.Errorf("held for a server: %d after %v", got.Code, time.Since(started))
	}
	r.Servers[0].Up()
	r.awaitState(0, "READY")
	if arrived := r.arrived("held"); len(arrived) != 0 {
		t.Errorf("arrived: %+v", arrived)
	}
	r.awaitCut("revoked", map[string]int{"alice": 1, "carol": 1})
}

// TestSharedNothingArrivesAfterARevocation revokes while many requests are
// being made: none that was begun after Revoke has returned arrives, and what
// was under way ends. (What was on the wire by then may arrive.)
func TestSharedNothingArrivesAfterARevocation(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, fakeapi.Text(200, "fine"))
	for range 8 {
		var stop, revoked atomic.Bool
		var senders sync.WaitGroup
		for n := range 8 {
			senders.Go(func() {
				for !stop.Load() {
					path := pods + "/race"
					if n%2 == 0 {
						path = pods + "?watch=1"
					}
					if revoked.Load() {
						path = secrets + "/late"
					}
					_ = r.get(path, aliceToken) // a refusal, once it is revoked
				}
			})
		}
		before := len(r.Servers[0].Requests("GET " + pods + "*"))
		r.Servers[0].Await("GET "+pods+"*", before+20)
		if _, err := r.Daemon.Revoke("alice", time.Time{}, ""); err != nil {
			t.Fatal(err)
		}
		revoked.Store(true)
		r.await("no request of alice's in flight", func() bool {
			for _, c := range r.Daemon.Status().Clients {
				if c.Name == "alice" {
					return c.InFlight+c.Watches+c.Upgrades == 0
				}
			}
			return false
		})
		for range 50 {
			_ = r.get(secrets+"/late", aliceToken)
		}
		stop.Store(true)
		senders.Wait()
		if late := r.Servers[0].Requests("GET " + secrets + "*"); len(late) != 0 {
			t.Fatalf("%d requests were begun after the revocation and arrived", len(late))
		}
		if err := r.Daemon.Unrevoke("alice"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSharedReloadLeavesTheUnchangedAlone reloads again and again, with
// everything else changing, while streams are open.
func TestSharedReloadLeavesTheUnchangedAlone(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	watched := r.Servers[0].Watch(pods, nil)
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	alice := r.open(aliceToken)
	for n := range 5 {
		r.reload(func(cfg *config.Configuration) {
			clientOf(cfg, "bob").Match[0] = tokenMatch(fmt.Sprint("bob", n))
			clientOf(cfg, "alice").Limits.MaxWatches = n + 1
			cfg.Policies[1].Rules[0].Verbs = []string{"get"}
			cfg.Policies[0].Rules = append(cfg.Policies[0].Rules, policy.Rule{Verbs: []string{"get"}, NonResourceURLs: []string{fmt.Sprint("/", n)}})
			cfg.Clients = slices.DeleteFunc(cfg.Clients, func(c config.Client) bool { return c.Name == "dave" && n%2 == 0 })
			cfg.Audit.File = r.path(fmt.Sprint("audit", n))
		})
		alice.watch.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
		alice.tunnel.echoes()
	}
	r.mu.Lock()
	r.next = func() (*config.Configuration, error) { return nil, fmt.Errorf("bad") }
	r.mu.Unlock()
	if _, err := r.Daemon.Reload(t.Context()); err == nil {
		t.Error("a configuration that cannot be loaded was taken")
	}
	alice.watch.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
	alice.tunnel.echoes()
	if got := r.ask(t, "GET "+pods+"/p HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code == 401 || got.Code == 403 {
		t.Errorf("after a bad reload: %d", got.Code)
	}
}
