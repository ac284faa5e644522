package daemon_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedNarrowedGrantCutsWhatAskedForItself: --as oneself keeps the UID and
// the extras of the grant, and ends with them.
func TestSharedNarrowedGrantCutsWhatAskedForItself(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*config.Grant){
		"another UID": func(g *config.Grant) { g.Impersonate.UID = "8" },
		"an extra":    func(g *config.Grant) { g.Impersonate.Extra = map[string][]string{"scope": {"read"}} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startTeam(t, 1)
			r.all("GET "+podExec, fakeapi.Upgrade(greeting))
			tunnel := r.tunnelTo(aliceToken, podExec, websocket+"\nImpersonate-User: alice\nImpersonate-Group: dev")
			r.reload(func(cfg *config.Configuration) { edit(&clientOf(cfg, "alice").Grants[0]) })
			if err := tunnel.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if rest := tunnel.rest(); !strings.HasPrefix(rest, "\x88") {
				t.Errorf("before the tunnel's end came %q, want a close frame", rest)
			}
			r.awaitCut("policy", map[string]int{"alice": 1})
		})
	}
}
