package daemon_test

import (
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedChangedClusterEndsItsWatchesForTheReload, not for an operator's
// drain, which nobody has asked for.
func TestSharedChangedClusterEndsItsWatchesForTheReload(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 2)
	for _, s := range r.Servers {
		s.Watch(pods, fakeapi.Text(200, "fine"))
	}
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	alice := r.open(aliceToken)
	r.reload(func(cfg *config.Configuration) { cfg.Clusters[0].Balancer.Breaker.OpenFor += time.Second })
	alice.watch.wantEnd()
	alice.tunnel.echoes() // what has no end of its own gets the grace time
	r.awaitCut("reload", map[string]int{"alice": 1})
	r.awaitCut("drain", map[string]int{})
}
