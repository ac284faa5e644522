package daemon_test

import (
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestListenerThatBecomesSharedEndsItsTunnels makes a single listener a shared
// one: what nobody was identified for ends.
func TestListenerThatBecomesSharedEndsItsTunnels(t *testing.T) {
	t.Parallel()
	single := true
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		if single {
			cfg.Listeners[0] = singleListener("proxy")
		}
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	tunnel := r.anonymousTunnel("proxy")
	single = false
	r.reload(func(*config.Configuration) {})
	tunnel.rest() // fails when it stays open
}

// TestListenerThatBecomesSharedEndsWhatIsHeld makes a single listener a shared
// one while a request through it is held: it is not sent when a server is back.
func TestListenerThatBecomesSharedEndsWhatIsHeld(t *testing.T) {
	t.Parallel()
	single := true
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = time.Minute
		if single {
			cfg.Listeners[0] = singleListener("proxy")
		}
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	r.Servers[0].Down()
	r.awaitState(0, "DOWN")
	w := r.connect("proxy")
	w.send(lines("GET " + podExec + " HTTP/1.1\nHost: localhost\n" + markHeader + ": held" + websocket))
	r.await("it is held", func() bool { return r.Daemon.Status().InFlight.Upgrades == 1 })
	single = false
	r.reload(func(*config.Configuration) {})
	r.Servers[0].Up()
	r.awaitState(0, "READY")
	w.rest() // fails when it stays open
	if n := len(r.arrived("held")); n != 0 {
		t.Errorf("%d anonymous requests arrived after the listener was a shared one", n)
	}
}

// TestListenerThatIsRemovedEndsItsTunnels removes a single listener: its tunnels
// get the grace time, and what is open at others notices nothing.
func TestListenerThatIsRemovedEndsItsTunnels(t *testing.T) {
	t.Parallel()
	single := true
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Grace = 500 * time.Millisecond
		if single {
			cfg.Listeners = append(cfg.Listeners, singleListener("single"))
		}
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	watched := r.Servers[0].Watch(pods, nil)
	tunnel, watch := r.anonymousTunnel("single"), r.watch(aliceToken)
	single = false
	r.reload(func(*config.Configuration) {})
	tunnel.rest() // fails when it stays open
	watch.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
}

// TestClusterThatIsReplacedEndsItsTunnels gives a cluster another kubeconfig: the
// tunnels to the previous servers get the grace time, those of a client as well
// as anonymous ones.
func TestClusterThatIsReplacedEndsItsTunnels(t *testing.T) {
	t.Parallel()
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Listeners = append(cfg.Listeners, singleListener("single"))
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	tunnels := []*wire{r.tunnelTo(aliceToken, podExec, websocket), r.anonymousTunnel("single")}
	r.reload(func(cfg *config.Configuration) {
		cfg.Grace = 500 * time.Millisecond
		pointAt(&cfg.Clusters[0], second)
	})
	for _, tunnel := range tunnels {
		tunnel.rest() // fails when it stays open
	}
}
