package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
)

const (
	firstKey  = "0000000000000001"
	secondKey = "0000000000000002"
)

// knownTo has two clusters of one server, one of which has another, and alice.
func knownTo() *known {
	prod, same := &cluster{config: config.Cluster{Name: "prod"}}, &cluster{config: config.Cluster{Name: "same"}}
	return &known{
		upstreams: map[string][]place{firstKey: {{prod, "10.0.0.1:6443"}, {same, "10.0.0.1:6443"}}, secondKey: {{prod, "10.0.0.2:6443"}}},
		clients:   map[string]string{gossip.ClientID("alice"): "alice"},
	}
}

func TestWhatWasDecidedHolds(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	revoke := func(client string, on bool, until time.Time) gossip.Intent {
		return gossip.Intent{Kind: gossip.Revoke, Target: gossip.ClientID(client), On: on, Until: until}
	}
	drain := func(key string, on bool) gossip.Intent {
		return gossip.Intent{Kind: gossip.Drain, Target: key, On: on}
	}
	for name, c := range map[string]struct {
		before  intentState
		drained []string // cluster/upstream
		revoked map[string]time.Time
	}{
		"a drain, in each cluster of the server": {
			before:  intentState{Mesh: []gossip.Intent{drain(firstKey, true), drain(secondKey, false)}},
			drained: []string{"prod/10.0.0.1:6443", "same/10.0.0.1:6443"},
		},
		"an undrain of a server that is not configured, by the name of then": {
			before: intentState{
				Drained: []drainedUpstream{{Cluster: "prod", Upstream: "10.0.0.9:6443", Key: "0000000000000009"}, {Cluster: "prod", Upstream: "10.0.0.8:6443"}},
				Mesh:    []gossip.Intent{drain("0000000000000009", false)},
			},
			drained: []string{"prod/10.0.0.8:6443"},
		},
		"a drain that is older than the server's authority": {
			before: intentState{
				Drained: []drainedUpstream{{Cluster: "prod", Upstream: "10.0.0.2:6443", Key: "0000000000000009"}},
				Mesh:    []gossip.Intent{drain("0000000000000009", true)},
			},
			drained: []string{"prod/10.0.0.2:6443"},
		},
		"a lift of a client that is not configured": {
			before: intentState{Revoked: []revocation{{Client: "late"}, {Client: "other"}}, Mesh: []gossip.Intent{revoke("late", false, time.Time{})}},
			revoked: map[string]time.Time{
				"other": {},
			},
		},
		"a revocation of a client that is, and none of one that is not": {
			before:  intentState{Mesh: []gossip.Intent{revoke("alice", true, hour), revoke("late", true, time.Time{})}},
			revoked: map[string]time.Time{"alice": hour},
		},
		"another end of a revocation": {
			before:  intentState{Revoked: []revocation{{Client: "alice"}}, Mesh: []gossip.Intent{revoke("alice", true, hour)}},
			revoked: map[string]time.Time{"alice": hour},
		},
		"what is over does not": {
			before: intentState{Revoked: []revocation{{Client: "alice"}}, Mesh: []gossip.Intent{revoke("alice", true, time.Now().Add(-time.Minute))}},
		},
		"what the peers are yet to be told, over what they know": {
			before: intentState{
				Revoked: []revocation{{Client: "alice"}}, Mesh: []gossip.Intent{revoke("alice", true, hour), drain(secondKey, true)},
				Pending: []gossip.Intent{revoke("alice", true, time.Time{}), drain(secondKey, false)},
			},
			revoked: map[string]time.Time{"alice": {}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			after := c.before.clone()
			after.follow(knownTo(), time.Now())
			var drains []string
			for _, d := range after.Drained {
				drains = append(drains, d.Cluster+"/"+d.Upstream)
			}
			var revoked map[string]time.Time
			for _, r := range after.Revoked {
				if revoked == nil {
					revoked = make(map[string]time.Time)
				}
				revoked[r.Client] = r.Until
			}
			if diff := cmp.Diff(c.drained, drains); diff != "" {
				t.Errorf("drained (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.revoked, revoked); diff != "" {
				t.Errorf("revoked (-want +got):\n%s", diff)
			}
			again := after.clone()
			again.follow(knownTo(), time.Now())
			if !again.equal(after) {
				t.Errorf("once more, and it is %+v, not %+v", again, after)
			}
		})
	}
}

// TestDecisionsThatNobodyWasToldAreKept, as long as somebody may have to be.
func TestDecisionsThatNobodyWasToldAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	i := openTestIntents(t, path)
	i.settle([]gossip.Intent{{Kind: gossip.Drain, Target: firstKey, On: true, By: "a", Counter: 7}}, nil, knownTo())
	for _, err := range []error{
		i.drain("prod", "10.0.0.1:6443", false, firstKey),
		i.drain("prod", "10.0.0.2:6443", true, secondKey),
		i.drain("prod", "10.0.0.2:6443", false, secondKey), // nobody has heard of it
		i.revoke("alice", time.Time{}, "stolen"),
		i.revoke("bob", time.Now().Add(-time.Second), ""), // over
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []gossip.Intent{
		{Kind: gossip.Drain, Target: firstKey, Counter: 7},
		{Kind: gossip.Revoke, Target: gossip.ClientID("alice"), On: true, Reason: "stolen"},
	}
	if diff := cmp.Diff(want, openTestIntents(t, path).state.Pending); diff != "" {
		t.Errorf("pending after a restart (-want +got):\n%s", diff)
	}
}

// TestFileFromBeforeGossip: its decisions are told, too.
func TestFileFromBeforeGossip(t *testing.T) {
	s := intentState{
		Drained: []drainedUpstream{{Cluster: "prod", Upstream: "10.0.0.2:6443"}},
		Revoked: []revocation{{Client: "alice"}, {Client: "bob"}},
		Mesh:    []gossip.Intent{{Kind: gossip.Revoke, Target: gossip.ClientID("bob"), On: true, Counter: 1}},
	}
	s.follow(knownTo(), time.Now())
	s.pendUntold()
	want := []gossip.Intent{
		{Kind: gossip.Revoke, Target: gossip.ClientID("alice"), On: true},
		{Kind: gossip.Drain, Target: secondKey, On: true},
	}
	if diff := cmp.Diff(want, s.Pending); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}
}

// TestDecisionsOfPeersAreWritten once for all that came together, and until
// that succeeds.
func TestDecisionsOfPeersAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := filepath.Join(t.TempDir(), "late")
		path := filepath.Join(directory, "state.json")
		i := openTestIntents(t, path)
		if err := i.revoke("alice", time.Time{}, ""); !errors.Is(err, errNotKept) {
			t.Fatalf("error %v, want one about the file", err)
		}
		var mesh []gossip.Intent
		for n := range 100 {
			mesh = append(mesh, gossip.Intent{Kind: gossip.Revoke, Target: gossip.ClientID("alice"), By: "b", Counter: uint64(n + 1)})
			i.settle(mesh[n:], nil, knownTo())
		}
		if len(i.revocations()) != 0 {
			t.Error("a lift that cannot be written does not hold")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		writing.Go(func() { i.keepWriting(ctx) })
		defer writing.Wait()
		defer cancel()
		synctest.Wait() // it has failed
		if err := os.Mkdir(directory, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeAgainAfter + time.Second)
		again := openTestIntents(t, path)
		if got := again.meshed(); len(got) != 1 || got[0].Counter != 100 || len(again.revocations()) != 0 {
			t.Errorf("the file has %+v", again.state)
		}
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("it was written again, for nothing (%v)", err)
		}
	})
}

// TestStateFileStaysReadable: what is written could be read.
func TestStateFileStaysReadable(t *testing.T) {
	i := openTestIntents(t, filepath.Join(t.TempDir(), "state.json"))
	s := intentState{Version: 1, Revoked: []revocation{{Client: string(make([]byte, maxStateFile/6))}}} // \u0000 each
	if err := i.write(&s); err == nil {
		t.Error("a file was written that is too large to be read")
	}
}

// TestPoolIsWhatWasDecided: whatever it was before.
func TestPoolIsWhatWasDecided(t *testing.T) {
	d, err := New(&config.Configuration{Clusters: []config.Cluster{{
		Name: "test", Balancer: balancer.DefaultConfig(), HealthCheck: health.DefaultConfig(),
		Connection: config.Connection{Load: func() (*rest.Config, error) { return &rest.Config{Host: "http://127.0.0.1:1"}, nil }},
	}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	c := d.parts.Load().cluster("test")
	id := c.upstreamIDs()[0]
	for _, on := range []bool{true, false} {
		c.pool.Drain(id, !on)
		if err := d.intents.drain("test", id, on); err != nil {
			t.Fatal(err)
		}
		if err := c.refresh(); err != nil {
			t.Fatal(err)
		}
		if got := c.pool.Status()[0].Draining; got != on {
			t.Errorf("draining is %v, want %v", got, on)
		}
	}
}
