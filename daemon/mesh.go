package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
)

// mesh is where gossip meets the rest: what peers say leads to probes, what
// operators decided on them to drains and revocations, and what is seen and
// decided here goes to them. None of the others knows of it. All of its methods
// do nothing on a nil mesh: gossip is off.
type mesh struct {
	daemon *Daemon
	log    *zap.Logger
	gossip *gossip.Mesh
	known  atomic.Pointer[known]

	states map[string]gossip.PeerState // of the peers; onPeer's alone
}

// known are the upstreams and clients of the configuration in force, by the
// identity that all nodes know them by.
type known struct {
	upstreams map[string]place
	clients   map[string]string // names
}

// place is an upstream of a cluster.
type place struct {
	cluster *cluster
	id      string
}

// describeInterval is how often this node's load is published.
const describeInterval = 5 * time.Second

func (d *Daemon) newMesh(c gossip.Config) (*mesh, error) {
	if !c.Enabled() {
		return nil, nil
	}
	m := &mesh{daemon: d, log: d.log.Named("gossip"), states: make(map[string]gossip.PeerState)}
	m.known.Store(&known{})
	var err error
	m.gossip, err = gossip.New(c, gossip.Options{
		Log:        m.log,
		Registerer: d.metrics.Registry(),
		Knows: func(upstream string) bool {
			_, found := m.known.Load().upstreams[upstream]
			return found
		},
		OnObservation: m.onObservation,
		OnIntent:      m.onIntent,
		OnPeer:        m.onPeer,
	})
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return m, nil
}

// start joins the peers, with what operators decided before a restart.
func (m *mesh) start(ctx context.Context) error {
	if m == nil {
		return nil
	}
	if err := m.gossip.Import(m.daemon.intents.meshed()); err != nil {
		m.log.Warn("some saved decisions cannot be passed on", zap.Error(err))
	}
	m.learn()
	m.propose()
	m.describe()
	if err := m.gossip.Start(ctx); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	m.daemon.work.Go(func() { m.keepDescribing(m.daemon.background) })
	return nil
}

// learn takes in the configuration in force: which upstreams and clients there
// are. What was decided about them elsewhere, before they were known here,
// holds from now on.
func (m *mesh) learn() {
	if m == nil {
		return
	}
	k := &known{upstreams: make(map[string]place), clients: make(map[string]string)}
	for _, c := range m.daemon.parts.Load().clusters {
		for id, key := range c.meshKeys() {
			k.upstreams[key] = place{c, id}
		}
	}
	for name := range m.daemon.access.Load().Clients {
		k.clients[gossip.ClientID(name)] = name
	}
	before := m.known.Swap(k)
	for key := range before.upstreams {
		if _, still := k.upstreams[key]; !still {
			m.gossip.Forget(key)
		}
	}
	for _, i := range m.gossip.Export() {
		if i.On && !i.Expired(time.Now()) {
			m.apply(i)
		}
	}
}

// propose tells the peers what was decided here while gossip was off.
func (m *mesh) propose() {
	decided := make(map[string]bool)
	for _, i := range m.gossip.Export() {
		decided[i.Target] = true
	}
	state := m.daemon.intents.snapshot()
	for _, r := range state.Revoked {
		if target := gossip.ClientID(r.Client); !decided[target] {
			m.intend(gossip.Intent{Kind: gossip.Revoke, Target: target, On: true, Until: r.Until, Reason: r.Reason})
		}
	}
	for _, drained := range state.Drained {
		if target, found := m.keyOf(drained.Cluster, drained.Upstream); found && !decided[target] {
			m.intend(gossip.Intent{Kind: gossip.Drain, Target: target, On: true})
		}
	}
}

// intend makes a decision hold on all nodes, and keeps it over a restart.
func (m *mesh) intend(i gossip.Intent) {
	if _, err := m.gossip.Intend(i); err != nil {
		m.log.Error("the decision holds on this node alone", zap.String("kind", string(i.Kind)), zap.Error(err))
		return
	}
	m.keep()
}

// keep writes all decisions that are known to the state file.
func (m *mesh) keep() {
	if err := m.daemon.intents.keep(m.gossip.Export()); err != nil {
		m.log.Warn("decisions of the peers cannot be kept over a restart", zap.Error(err))
	}
}

// drained and revoked are told what was decided on this node.
func (m *mesh) drained(cluster, upstream string, on bool) {
	if m == nil {
		return
	}
	if key, found := m.keyOf(cluster, upstream); found {
		m.intend(gossip.Intent{Kind: gossip.Drain, Target: key, On: on})
	}
}

func (m *mesh) revoked(client string, on bool, until time.Time, reason string) {
	if m == nil {
		return
	}
	m.intend(gossip.Intent{Kind: gossip.Revoke, Target: gossip.ClientID(client), On: on, Until: until, Reason: reason})
}

func (m *mesh) keyOf(cluster, upstream string) (key string, found bool) {
	for key, p := range m.known.Load().upstreams {
		if p.cluster.config.Name == cluster && p.id == upstream {
			return key, true
		}
	}
	return "", false
}

// onIntent is told what an operator decided on another node.
func (m *mesh) onIntent(i gossip.Intent) {
	if i.Expired(time.Now()) {
		i.On = false
	}
	m.apply(i)
	m.keep()
}

// apply makes a decision of another node hold here. What it is about may not
// be configured here; it is remembered for when it is.
func (m *mesh) apply(i gossip.Intent) {
	k := m.known.Load()
	fields := []zap.Field{zap.String("by", i.By), zap.String("reason", i.Reason), zap.Bool("on", i.On)}
	var changed bool
	var err error
	switch i.Kind {
	case gossip.Drain:
		p, found := k.upstreams[i.Target]
		if !found {
			return
		}
		fields = append(fields, zap.String("cluster", p.cluster.config.Name), zap.String("upstream", p.id))
		changed, err = m.daemon.drain(p.cluster, p.id, i.On)
	case gossip.Revoke:
		client, found := k.clients[i.Target]
		if !found {
			return
		}
		fields = append(fields, zap.String("client", client))
		changed, err = m.daemon.revokeAs(client, i)
	}
	if err != nil {
		m.log.Error("cannot apply a decision of another node", append(fields, zap.String("kind", string(i.Kind)), zap.Error(err))...)
		return
	}
	if changed {
		m.log.Info("a decision of another node holds here, too", append(fields, zap.String("kind", string(i.Kind)))...)
	}
}

// onObservation is told what a peer sees. It is advice: a DOWN has the server
// probed now, and an UP ends a back-off early. Only of a server that was never
// probed from here it is the first state.
func (m *mesh) onObservation(o gossip.Observation) {
	p, found := m.known.Load().upstreams[o.Upstream]
	if !found {
		return
	}
	own := p.cluster.group.State(p.id)
	switch {
	case o.State == gossip.StateDown && own != health.Down, o.State.Up() && own != health.Ready:
		p.cluster.group.ProbeNow(p.id)
	}
	if majority, ok := m.gossip.Majority(o.Upstream); ok {
		p.cluster.assume(p.id, majority)
	}
}

// onPeer is told that a peer came, went or changed.
func (m *mesh) onPeer(p gossip.Peer) {
	if m.states[p.Name] == p.State {
		return
	}
	m.states[p.Name] = p.State
	m.daemon.events.Add(admin.Event{Kind: admin.EventPeer, Text: fmt.Sprintf("peer %s (%s) is %s", p.Name, p.Address, peerStates[p.State])})
}

// observe publishes what this node itself sees of a server.
func (m *mesh) observe(key string, state health.State, reason, breaker string, since time.Time) {
	if m == nil || key == "" {
		return
	}
	err := m.gossip.Observe(gossip.Observation{
		Upstream: key, State: gossip.State(state.String()), Reason: reason, Breaker: breaker, Since: since,
	})
	if err != nil {
		m.log.Warn("an observation cannot be passed on", zap.Error(err))
	}
}

func (m *mesh) keepDescribing(ctx context.Context) {
	tick := time.NewTicker(describeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.describe()
		}
	}
}

// describe publishes what this node says of itself.
func (m *mesh) describe() {
	if m == nil {
		return
	}
	d := m.daemon
	inFlight := d.inFlight()
	p := gossip.Particulars{
		Version: d.options.Version, ConfigHash: d.parts.Load().hash, Started: d.started,
		Load: gossip.Load{
			InFlight: uint64(inFlight.Requests),
			Streams:  uint64(inFlight.Watches + inFlight.Logs + inFlight.Upgrades),
		},
	}
	if a := d.AdminAddr(); a != nil {
		p.AdminAddress = a.String()
	}
	m.gossip.Describe(p)
}

var errGossipSection = errors.New("gossip cannot be switched on or off while kuberelay runs: restart it")

// reload puts another gossip section into force: keys, peers, networks.
func (m *mesh) reload(old, now *config.Configuration, force bool) error {
	if m == nil || !now.Gossip.Enabled() {
		if old.Gossip.Enabled() != now.Gossip.Enabled() {
			return errGossipSection
		}
		return nil
	}
	if err := m.gossip.Reload(now.Gossip, force); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	return nil
}

// leave tells the peers that this node goes.
func (m *mesh) leave(ctx context.Context) {
	if m == nil {
		return
	}
	if err := m.gossip.Leave(ctx); err != nil {
		m.log.Warn("cannot tell the peers that this node leaves", zap.Error(err))
	}
}

func (m *mesh) stop() {
	if m == nil {
		return
	}
	if err := m.gossip.Stop(); err != nil {
		m.log.Warn("gossip did not stop cleanly", zap.Error(err))
	}
}
