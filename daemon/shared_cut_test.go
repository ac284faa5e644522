package daemon_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedCuts ends what a client has open in every way there is, while
// another's goes on; the audit log says why, once.
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
