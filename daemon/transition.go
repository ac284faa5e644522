package daemon

import (
	"context"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
)

// class is how the balancer ranks a state. A server that refuses the probe's
// credential still serves clients that bring their own, and tells the others
// in its own words what is wrong: it is a last resort.
func class(s health.State, cause health.ResultKind) balancer.Class {
	switch s {
	case health.Ready:
		return balancer.Ready
	case health.Suspect:
		return balancer.Suspect
	case health.Degraded:
		return balancer.Degraded
	case health.Misconfigured:
		if cause == health.Credential {
			return balancer.Degraded
		}
		return balancer.Misconfigured
	case health.Down:
	}
	return balancer.Down
}

// onTransition is where a server's state meets the balancer, the requests in
// flight, the metrics and the log.
func (c *cluster) onTransition(t health.Transition) {
	c.mu.Lock() // refresh may be about to set what it saw before
	c.pool.SetClass(t.ID, class(t.To, t.Cause))
	c.metrics.Upstream(c.config.Name, t.ID).State(t.To.String())
	m := c.members[t.ID]
	first := m != nil && !m.announced
	if m != nil {
		m.announced, m.assumed = true, false
	}
	c.mu.Unlock()
	if t.To == health.Ready {
		c.everReady.Store(true)
	}
	c.logTransition(t, first)
	if m == nil {
		return
	}
	c.publish(t.ID)
	text := t.To.String() + ", was " + t.From.String() + ": " + t.Reason
	if first { // the state before was only assumed
		text = t.To.String() + ": " + t.Reason
	}
	c.daemon.events.Add(admin.Event{Kind: admin.EventState, Cluster: c.config.Name, Upstream: t.ID, Text: text})
	switch {
	case t.To == health.Misconfigured && t.Cause == health.Credential:
	case t.To == health.Misconfigured:
		m.upstream.CloseConnections()
		c.cut(t.ID)
	case t.To == health.Down && t.Cause == health.Refused:
		// The process is gone or has closed its port. Connections to a dead
		// one break by themselves, and one that shuts down in order still
		// finishes what it has taken.
		m.upstream.CloseIdle()
	case t.To == health.Down:
		m.upstream.CloseIdle()
		c.cut(t.ID)
	case t.To == health.Suspect && t.From != health.Down && t.Cause == health.Timeout:
		m.upstream.CloseIdle()
		c.abandon(t.ID)
	case t.To == health.Degraded:
		m.upstream.CloseIdle()
	}
}

// abandon lets what waits for a server that stopped answering go to others,
// as far as it may.
func (c *cluster) abandon(id string) {
	if n := c.daemon.registry.Abandon(c.config.Name, id); n > 0 {
		c.log.Info("requests that waited for a server that stopped answering go to others",
			zap.String("upstream", id), zap.Int("requests", n))
	}
}

// cut ends what is in flight to an upstream, streams at a pace, on a
// goroutine of the daemon's.
func (c *cluster) cut(id string) {
	c.begin(func(ctx context.Context) { c.daemon.registry.Cut(ctx, c.config.Name, id) })
}

// leave ends the watches at an upstream, at a pace, as cut does.
func (c *cluster) leave(id string) {
	c.begin(func(ctx context.Context) { c.daemon.registry.Leave(ctx, c.config.Name, id) })
}

// begin runs f as a part of the background work, unless that ends.
func (c *cluster) begin(f func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending && c.background != nil {
		c.work.Go(func() { f(c.background) })
	}
}

// logTransition writes one line; the first does not name the state that was
// only assumed until then.
func (c *cluster) logTransition(t health.Transition, first bool) {
	level := zap.InfoLevel
	switch t.To {
	case health.Down, health.Misconfigured:
		level = zap.WarnLevel
	case health.Ready, health.Suspect, health.Degraded:
	}
	if c.source(t.ID) == admin.SourceDiscovered && t.From == health.Down && t.To != health.Ready && t.To != health.Misconfigured {
		level = zap.DebugLevel // an address that was never of use is no news
	}
	if ce := c.log.Check(level, "API server is "+t.To.String()); ce != nil {
		fields := []zap.Field{zap.String("upstream", t.ID), zap.String("was", t.From.String()), zap.String("reason", t.Reason)}
		if first {
			fields = []zap.Field{fields[0], fields[2]}
		}
		ce.Write(fields...)
	}
}

// onProbe lets the active probe, and nothing else, test a half-open breaker.
func (c *cluster) onProbe(id string, r health.Result) {
	if r.Kind == health.Timeout && c.group.State(id) != health.Ready {
		c.abandon(id) // who was sent there while its state changed
	}
	if r.Kind == health.Local {
		return // this host's fault says nothing about the server
	}
	c.probed(id)
	c.pool.HalfOpenResult(id, r.Kind == health.Pass)
}

// assume gives a server that was never probed from here the class of the state
// that most peers see. It is advice: what peers cannot reach is ranked last, and
// never made unusable by their word alone.
func (c *cluster) assume(id string, peers gossip.State) {
	state, known := peerState[peers]
	if !known {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[id]
	if m == nil || m.probed || m.announced {
		return
	}
	if s, ok := c.group.Status(id); ok && s.LastProbe.IsZero() {
		m.assumed = true
		c.pool.SetClass(id, assumed(state, class(s.State, s.Cause)))
	}
}

// assumed is the class of a server that peers see in a state. What was not
// usable from the start stays so until peers or a probe say otherwise.
func assumed(peers health.State, own balancer.Class) balancer.Class {
	if assumed := class(peers, health.Unprobed); assumed < balancer.Down {
		return assumed
	}
	return max(own, balancer.Degraded)
}

// probed lets what is seen from here count, from the first probe on. It comes
// before the group's own state knows of the probe.
func (c *cluster) probed(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[id]
	if m == nil {
		return
	}
	m.probed = true
	if !m.assumed {
		return
	}
	m.assumed = false
	if s, ok := c.group.Status(id); ok {
		c.pool.SetClass(id, class(s.State, s.Cause))
	}
}

// peerState are the states by the words of peers. SUSPECT is no decision.
var peerState = map[gossip.State]health.State{
	gossip.StateReady: health.Ready, gossip.StateDegraded: health.Degraded,
	gossip.StateDown: health.Down, gossip.StateMisconfigured: health.Misconfigured,
}

// publish tells the peers what is seen of a server from here. Transitions and
// breakers call it from goroutines of their own: one at a time, so that what was
// looked up last is told last.
func (c *cluster) publish(id string) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	m := c.member(id)
	if m == nil || c.daemon.mesh == nil {
		return
	}
	s, ok := c.group.Status(id)
	if !ok {
		return
	}
	breaker := ""
	if b, ok := c.pool.Breaker(id); ok {
		breaker = b.String()
	}
	c.daemon.mesh.observe(m.key, s.State, s.Reason, breaker, s.Since)
}

func (c *cluster) onTrouble(trouble string) {
	if trouble == "" {
		c.log.Info("the API servers no longer fail in common")
		return
	}
	c.log.Warn("the API servers fail in common, traffic still flows", zap.String("trouble", trouble))
}

func (c *cluster) onBreaker(id string, from, to balancer.BreakerState) {
	c.metrics.Upstream(c.config.Name, id).Breaker(to.String())
	c.log.Info("circuit breaker is "+to.String(), zap.String("upstream", id), zap.String("was", from.String()))
	c.daemon.events.Add(admin.Event{Kind: admin.EventBreaker, Cluster: c.config.Name, Upstream: id, Text: "the breaker is " + to.String() + ", was " + from.String()})
	c.publish(id)
}
