package daemon

import (
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
)

// unprobed is a cluster of which nothing runs yet.
func unprobed(t *testing.T) (c *cluster, id string) {
	t.Helper()
	d, err := New(&config.Configuration{Clusters: []config.Cluster{{
		Name: "c",
		Connection: config.Connection{Load: func() (*rest.Config, error) {
			return &rest.Config{Host: "https://192.0.2.1:6443"}, nil
		}},
		Discovery: config.Discovery{Mode: config.DiscoverNone}, Balancer: balancer.DefaultConfig(), HealthCheck: health.DefaultConfig(),
	}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c = d.parts.Load().clusters[0]
	t.Cleanup(c.close)
	return c, "192.0.2.1:6443"
}

// want checks whether a server's class is the peers' word, and whether it is
// used at all.
func (c *cluster) want(t *testing.T, after string, assumed bool, eligible int) {
	t.Helper()
	for id, m := range c.members {
		if m.assumed != assumed {
			t.Errorf("%s: the class of %s is the peers' word: %v, want %v", after, id, m.assumed, assumed)
		}
	}
	if got := c.pool.Eligible(); got != eligible {
		t.Errorf("%s: %d servers are used, want %d", after, got, eligible)
	}
}

func TestPeersWordCountsUntilTheFirstProbe(t *testing.T) {
	for peers, known := range map[gossip.State]bool{
		gossip.StateReady: true, gossip.StateDegraded: true, gossip.StateDown: true, gossip.StateMisconfigured: true,
		gossip.StateSuspect: false, "a word of newer peers": false,
	} {
		t.Run(string(peers), func(t *testing.T) {
			c, id := unprobed(t)
			c.assume(id, peers)
			c.want(t, "peers say so", known, 1)
			c.onProbe(id, health.Result{Kind: health.Local})
			c.want(t, "a probe that did not leave this host", known, 1)
			c.onProbe(id, health.Result{Kind: health.Timeout})
			c.want(t, "the first probe", false, 1)
		})
	}
}

// TestPeersRankAServerThatWasNeverProbed: last, where they cannot use it. What is
// not used from the start, as a discovered address is not, is not used because of
// bad news either.
func TestPeersRankAServerThatWasNeverProbed(t *testing.T) {
	for _, c := range []struct {
		own   balancer.Class
		peers health.State
		want  balancer.Class
	}{
		{balancer.Suspect, health.Ready, balancer.Ready},
		{balancer.Suspect, health.Degraded, balancer.Degraded},
		{balancer.Suspect, health.Down, balancer.Degraded},
		{balancer.Suspect, health.Misconfigured, balancer.Degraded},
		{balancer.Down, health.Ready, balancer.Ready},
		{balancer.Down, health.Degraded, balancer.Degraded},
		{balancer.Down, health.Down, balancer.Down},
		{balancer.Down, health.Misconfigured, balancer.Down},
	} {
		if got := assumed(c.peers, c.own); got != c.want {
			t.Errorf("peers see %v: class %v after %v, want %v", c.peers, got, c.own, c.want)
		}
	}
}

func TestPeersSayNothingOfAServerThatWasSeenFromHere(t *testing.T) {
	t.Run("by a probe, whose result is not published yet", func(t *testing.T) {
		c, id := unprobed(t)
		c.onProbe(id, health.Result{Kind: health.Timeout})
		c.assume(id, gossip.StateReady)
		c.want(t, "peers say READY", false, 1)
	})
	t.Run("as another cluster's", func(t *testing.T) {
		c, id := unprobed(t)
		c.onTransition(health.Transition{ID: id, From: health.Suspect, To: health.Misconfigured, Cause: health.WrongCluster})
		c.assume(id, gossip.StateReady)
		c.want(t, "peers say READY", false, 0)
	})
	t.Run("before the upstreams were listed anew", func(t *testing.T) {
		c, id := unprobed(t)
		c.onProbe(id, health.Result{Kind: health.Timeout})
		if err := c.refresh(); err != nil {
			t.Fatal(err)
		}
		c.assume(id, gossip.StateReady)
		c.want(t, "peers say READY", false, 1)
	})
}
