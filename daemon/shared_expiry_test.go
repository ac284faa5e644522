package daemon_test

import (
	"io"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedExpiryCuts ends what was opened with a token or a certificate once
// that expires, and not before.
func TestSharedExpiryCuts(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, nil)
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	until := time.Now().Add(5 * time.Second).Truncate(time.Second) // as certificates have it
	r.reload(func(cfg *config.Configuration) { clientOf(cfg, "carol").Match[0].Expires = until })
	alice, carol := r.open(aliceToken), r.open(carolToken)
	certified, resp := r.watchWith(r.certificateUntil("alice", until))
	carol.wantEnd()
	if time.Now().Before(until) {
		t.Error("the streams ended before the token expired")
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || time.Now().Before(until) {
		t.Errorf("the watch of the certificate ended %v after that has expired, with %v", time.Since(until), err)
	}
	t.Logf("all had ended %v after the expiry", time.Since(until))
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

// TestSharedExpiryCanBeShortened gives a token an end after it has opened a
// watch: the watch ends then.
func TestSharedExpiryCanBeShortened(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, nil)
	w := r.watch(aliceToken)
	until := time.Now().Add(time.Second)
	r.reload(func(cfg *config.Configuration) { clientOf(cfg, "alice").Match[0].Expires = until })
	w.wantEnd()
	if time.Now().Before(until) {
		t.Error("the watch ended before the token expired")
	}
	r.awaitCut("expired", map[string]int{"alice": 1})
}

// TestSharedExpiryCanBeProlonged gives a token a later end after it has opened a
// watch: the watch outlives the earlier end.
func TestSharedExpiryCanBeProlonged(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	watched := r.Servers[0].Watch(pods, nil)
	expiring := func(until time.Time) {
		r.reload(func(cfg *config.Configuration) { clientOf(cfg, "alice").Match[0].Expires = until })
	}
	for holds := 2 * time.Second; holds < time.Minute; holds *= 2 {
		until := time.Now().Add(holds)
		expiring(until)
		w := r.watch(aliceToken)
		expiring(until.Add(time.Hour))
		if !time.Now().Before(until) {
			continue // too slow a machine for so short a time
		}
		later := time.NewTimer(time.Until(until.Add(time.Second)))
		defer later.Stop()
		<-later.C
		w.wantOpen(func() { watched.Send("ADDED", map[string]any{}) })
		return
	}
	t.Fatal("no watch could be opened before its token expired")
}
