package daemon

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
)

// observe publishes what this node itself sees of a server that is configured.
// Where several clusters have it, it is the worst that one of them sees.
func (m *mesh) observe(key string, state health.State, reason, breaker string, since time.Time) {
	if m == nil || key == "" {
		return
	}
	m.observing.Lock()
	defer m.observing.Unlock()
	places, known := m.known.Load().upstreams[key]
	if !known {
		return // learn publishes what becomes known
	}
	o := gossip.Observation{Upstream: key, State: gossip.State(state.String()), Reason: reason, Breaker: breaker, Since: since}
	if len(places) > 1 {
		for i, p := range places {
			if seen := p.cluster.observation(p.id); i == 0 || worse(seen, o) {
				o = seen
			}
		}
		o.Upstream = key
	}
	if err := m.gossip.Observe(o); err != nil {
		m.log.Warn("an observation cannot be passed on", zap.Error(err))
	}
}

// forget takes back what this node said of a server.
func (m *mesh) forget(key string) {
	m.observing.Lock()
	defer m.observing.Unlock()
	m.gossip.Forget(key)
}

// worsening are the states, and then breakers, from good to bad.
var (
	worseningStates   = []gossip.State{gossip.StateReady, gossip.StateSuspect, gossip.StateDegraded, gossip.StateMisconfigured, gossip.StateDown}
	worseningBreakers = []string{"closed", "half-open", "open"}
)

func worse(a, b gossip.Observation) bool {
	if a.State != b.State {
		return slices.Index(worseningStates, a.State) > slices.Index(worseningStates, b.State)
	}
	return slices.Index(worseningBreakers, a.Breaker) > slices.Index(worseningBreakers, b.Breaker)
}

// observation is what the cluster sees of an upstream now.
func (c *cluster) observation(id string) gossip.Observation {
	var o gossip.Observation
	for _, s := range c.group.Snapshot() {
		if s.ID == id {
			o = gossip.Observation{State: gossip.State(s.State.String()), Reason: s.Reason, Since: s.Since}
		}
	}
	for _, m := range c.pool.Status() {
		if m.ID == id {
			o.Breaker = m.Breaker.String()
		}
	}
	return o
}

// wasProbed says whether an upstream was probed: before that, there is nothing to
// tell of it.
func (c *cluster) wasProbed(id string) bool {
	return slices.ContainsFunc(c.group.Snapshot(), func(s health.Status) bool { return s.ID == id && !s.LastProbe.IsZero() })
}
