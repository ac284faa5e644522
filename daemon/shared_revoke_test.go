package daemon_test

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedRevocationEndsWhatWaits: a request that is held until an API server
// is back, and one that waits for its answer.
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
	waiting := ask("waiting", aliceToken)
	r.Servers[0].Await("POST "+pods, 1)
	r.revoke("alice")
	if got := waiting.receive("POST"); got.Code != 401 || got.Header.Get("Retry-After") != "" {
		t.Errorf("waiting for an answer: %d %v", got.Code, got.Header)
	}

	r.Servers[0].Down()
	r.awaitState(0, "DOWN")
	held := ask("held", carolToken)
	r.await("carol's request is under way", func() bool {
		return slices.ContainsFunc(r.events(""), func(e event) bool { return e.User.Username == "carol" && e.Stage == "RequestReceived" })
	})
	r.revoke("carol")
	if got := held.receive("POST"); got.Code != 401 {
		t.Errorf("held for a server: %d", got.Code)
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
		var revoked atomic.Bool
		var senders sync.WaitGroup
		for _, path := range slices.Repeat([]string{pods + "/race", pods + "?watch=1"}, 4) {
			senders.Go(func() {
				for !revoked.Load() {
					_ = r.get(path, aliceToken) // a refusal, once it is revoked
				}
				for range 10 {
					if err := r.get(secrets+"/late", aliceToken); err == nil {
						t.Error("a request that was begun after the revocation was answered with 200")
					}
				}
			})
		}
		before := len(r.Servers[0].Requests("GET " + pods + "*"))
		r.Servers[0].Await("GET "+pods+"*", before+20)
		r.revoke("alice")
		revoked.Store(true)
		r.await("nothing of alice's is open", func() bool { return r.openOf("alice") == 0 })
		senders.Wait()
		if late := r.Servers[0].Requests("GET " + secrets + "*"); len(late) != 0 {
			t.Fatalf("%d requests were begun after the revocation and arrived", len(late))
		}
		if err := r.Daemon.Unrevoke("alice"); err != nil {
			t.Fatal(err)
		}
	}
}

// revoke revokes a client until that is lifted, and returns how much it cut.
func (r *team) revoke(client string) (cut int) {
	r.t.Helper()
	cut, err := r.Daemon.Revoke(client, time.Time{}, "stolen")
	if err != nil {
		r.t.Fatal(err)
	}
	return cut
}

// openOf is how many requests of a client are in flight.
func (r *team) openOf(client string) int64 {
	for _, c := range r.Daemon.Status().Clients {
		if c.Name == client {
			return c.InFlight + c.Watches + c.Upgrades
		}
	}
	r.t.Fatalf("the status has no client %s", client)
	return 0
}

// TestSharedRevocationEndsWhoDoesNotRead revokes a client that reads nothing of
// a watch and of a large answer: both end, and give their limits back.
func TestSharedRevocationEndsWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("GET "+pods, fakeapi.Huge(64<<20))
	for _, path := range []string{pods + "?watch=1", pods} {
		w := r.connect("proxy")
		if tcp, ok := w.conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4096)
		}
		w.send(lines("GET " + path + " HTTP/1.1\nHost: localhost" + bearer(aliceToken)))
	}
	r.await("both are open", func() bool { return r.openOf("alice") == 2 })
	r.Servers[0].Await("GET "+pods, 2)
	if n := r.revoke("alice"); n != 2 {
		t.Errorf("%d cut, want 2", n)
	}
	r.await("nothing of alice's is open", func() bool { return r.openOf("alice") == 0 })
}

// TestSharedRevocationEndsAnUpload revokes a client that has not sent the body
// of its request yet.
func TestSharedRevocationEndsAnUpload(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	w := r.connect("proxy")
	w.send(lines("POST " + pods + " HTTP/1.1\nHost: localhost\nContent-Length: 10" + bearer(aliceToken)))
	r.await("the request is known", func() bool { return len(r.events("")) > 0 })
	r.revoke("alice")
	if got := w.receive("POST"); got.Code != 401 {
		t.Errorf("answer %d %s, want 401", got.Code, got.Body)
	}
}

// TestSharedRevocationThatCannotBeKeptIsInForce has no directory for the state
// file, which is like a full disk: the revocation counts, and the operator
// learns that a restart will lift it.
func TestSharedRevocationThatCannotBeKeptIsInForce(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) { cfg.StateFile = r.path("state/state.json") })
	r.Servers[0].Watch(pods, nil)
	w := r.watch(aliceToken)
	if _, err := r.Daemon.Revoke("alice", time.Time{}, "stolen"); err == nil {
		t.Error("nobody is told that the revocation does not outlive the process")
	}
	w.wantEnd()
	if got := r.ask(t, "GET "+pods+"/p HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 401 {
		t.Errorf("answer %d", got.Code)
	}
}

// TestSharedRevocationDoesNotWaitForAReload revokes while a reload hangs, as on a
// user database or a network file system.
func TestSharedRevocationDoesNotWaitForAReload(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, nil)
	w := r.watch(aliceToken)
	loading, hang := make(chan struct{}), make(chan struct{})
	r.loads(func() (*config.Configuration, error) {
		close(loading)
		<-hang
		return r.base(), nil
	})
	var both sync.WaitGroup
	both.Go(func() { _, _ = r.Daemon.Reload(t.Context()) })
	<-loading
	both.Go(func() { _, _ = r.Daemon.Revoke("alice", time.Time{}, "stolen") })
	w.wantEnd()
	close(hang)
	both.Wait()
}
