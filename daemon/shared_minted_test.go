package daemon_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedMintedTokenExpires: nothing new comes with an expired token of
// kuberelay credential, and what was opened with it goes on until the client
// loses the right to it. A configured token that expires in the same moment
// does end what it has opened.
func TestSharedMintedTokenExpires(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason string
		others []string // whom it ends, too
		cut    func(*team)
	}{
		"revoked": {reason: "revoked", cut: func(r *team) {
			if cut, err := r.Daemon.Revoke("local", time.Time{}, "left"); err != nil || cut != 2 {
				r.t.Errorf("revoked: %d cut, %v; want 2", cut, err)
			}
		}},
		"client removed": {reason: "removed", cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) {
				cfg.Clients = slices.DeleteFunc(cfg.Clients, func(c config.Client) bool { return c.Name == "local" })
			})
		}},
		"uid given to another": {reason: "removed", cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) {
				clientOf(cfg, "bob").Match = clientOf(cfg, "local").Match
				clientOf(cfg, "local").Match = []identify.Match{tokenMatch("another")}
			})
		}},
		"grant removed": {reason: "removed", cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { clientOf(cfg, "local").Grants[0].Cluster = "other" })
		}},
		"policy narrowed": {reason: "policy", cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) {
				cfg.Policies[1].Rules[0].Resources = []string{"services"}
				clientOf(cfg, "local").Grants[0].Policy = "read-only"
			})
		}},
		"method no longer accepted": {reason: "removed", others: []string{"alice"}, cut: func(r *team) {
			r.reload(func(cfg *config.Configuration) { cfg.Listeners[0].Identify = []identify.Method{identify.OIDC} })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			until := time.Now().Add(3 * time.Second).Truncate(time.Second)
			r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
				clientOf(cfg, "carol").Match[0].Expires = until
			})
			watched := r.Servers[0].Watch(pods, fakeapi.Text(200, "fine"))
			r.all("GET "+podExec, fakeapi.Upgrade(greeting))
			minted, expires := r.Daemon.Mint("local", uint32(os.Getuid()), time.Until(until)+time.Second/2)
			if !expires.Equal(until) {
				t.Fatalf("the token expires at %v, want %v", expires, until)
			}
			local, alice, carol := r.open(minted), r.open(aliceToken), r.open(carolToken)
			expired := time.NewTimer(time.Until(until))
			defer expired.Stop()
			<-expired.C
			carol.wantEnd() // so the streams have been looked at
			goOn := func(o open) {
				t.Helper()
				o.watch.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
				const frame = "\x82\x05hello" // whole, so that a close frame may follow
				o.tunnel.send(frame)
				o.tunnel.expect(frame)
			}
			goOn(local)
			if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": expired"+bearer(minted)); got.Code != 401 {
				t.Errorf("with the expired token: answer %d %s", got.Code, got.Body)
			}
			if arrived := r.arrived("expired"); len(arrived) != 0 {
				t.Errorf("arrived: %+v", arrived)
			}
			r.awaitCut("expired", map[string]int{"carol": 2})

			c.cut(r)
			local.wantEnd()
			ended := map[string]int{"local": 2}
			for _, other := range c.others {
				ended[other] = 2
			}
			r.awaitCut(c.reason, ended)
			if c.others == nil {
				goOn(alice)
			}
		})
	}
}
