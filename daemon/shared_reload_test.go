package daemon_test

import (
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

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
	r.loads(func() (*config.Configuration, error) { return nil, fmt.Errorf("bad") })
	if _, err := r.Daemon.Reload(t.Context()); err == nil {
		t.Error("a configuration that cannot be loaded was taken")
	}
	alice.watch.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
	alice.tunnel.echoes()
	if got := r.ask(t, "GET "+pods+"/p HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code == 401 || got.Code == 403 {
		t.Errorf("after a bad reload: %d", got.Code)
	}
}

// TestSharedReloadOfTheClientAuthorityCuts names another clientCAFile: what was
// opened with certificates of the previous authority ends.
func TestSharedReloadOfTheClientAuthorityCuts(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, nil)
	_, watch := r.watchWith(r.certificate("alice"))
	r.file("other-clients.crt", string(fakeapi.NewCA(t).PEM))
	r.reload(func(cfg *config.Configuration) { cfg.Listeners[1].TLS.ClientCAFile = r.path("other-clients.crt") })
	if _, err := io.Copy(io.Discard, watch.Body); err != nil {
		t.Errorf("the watch goes on under an authority that is not in use: %v", err)
	}
}

// TestSharedReloadWithoutAnAuditFileSaysWhatItDid: where the audit file cannot
// be opened again, the new configuration is in force, and no log line says that
// the previous one is.
func TestSharedReloadWithoutAnAuditFileSaysWhatItDid(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	if err := os.Remove(r.path("audit")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.path("audit"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.reload(func(cfg *config.Configuration) { cfg.Clients = cfg.Clients[1:] })
	if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 401 {
		t.Errorf("the client that was removed: answer %d, want 401", got.Code)
	}
	if n := r.Logs.FilterMessageSnippet("the one before stays in force").Len(); n != 0 {
		t.Errorf("%d log lines say that the previous configuration stays in force", n)
	}
	if n := r.Logs.FilterMessage("cannot reopen the audit log").Len(); n != 1 {
		t.Errorf("%d log lines about the audit log, want 1", n)
	}
}
