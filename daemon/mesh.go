package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
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
	name   string // this node's
	known  atomic.Pointer[known]

	states map[string]string // of the peers, as admin.Peer…; onPeer's alone

	decided chan struct{} // cap 1: peers have told a decision, or are there
	joined  atomic.Bool   // maps were exchanged with one of them since the start
	untold  int           // guarded by Daemon.publishing; decisions that could not be told

	observing sync.Mutex // held while it is found out what to say of an upstream
}

// known are the upstreams and clients of the configuration in force, by the
// identity that all nodes know them by.
type known struct {
	upstreams map[string][]place // several, if clusters have a server in common
	clients   map[string]string  // names
}

// key is the identity of an upstream; "" if it is not configured.
func (k *known) key(cluster, upstream string) string {
	for key, places := range k.upstreams {
		for _, p := range places {
			if p.cluster.config.Name == cluster && p.id == upstream {
				return key
			}
		}
	}
	return ""
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
	m := &mesh{daemon: d, log: d.log.Named("gossip"), states: make(map[string]string), decided: make(chan struct{}, 1)}
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
		OnIntent:      func(gossip.Intent) { m.signal() },
		OnJoin: func() {
			m.joined.Store(true)
			m.signal()
		},
		OnPeer: m.onPeer,
	})
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	m.name = m.gossip.Snapshot().Node
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
	if err := m.daemon.intents.change(true, (*intentState).pendUntold); err != nil {
		m.log.Warn("decisions of the time before gossip cannot be kept over a restart", zap.Error(err))
	}
	m.describe()
	if err := m.gossip.Start(ctx); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	m.describe() // again: now its address is known
	m.daemon.work.Go(func() { m.keepDescribing(m.daemon.background) })
	m.daemon.work.Go(func() { m.keepFollowing(m.daemon.background) })
	return nil
}

// learn takes in the configuration in force: which upstreams and clients there
// are. What was decided about them, wherever and whenever, holds from now on,
// and the peers hear what is seen of them.
func (m *mesh) learn() {
	if m == nil {
		return
	}
	m.daemon.publishing.Lock()
	defer m.daemon.publishing.Unlock()
	k := &known{upstreams: make(map[string][]place), clients: make(map[string]string)}
	for _, c := range m.daemon.parts.Load().clusters {
		for id, key := range c.meshKeys() {
			k.upstreams[key] = append(k.upstreams[key], place{c, id})
		}
	}
	for name := range m.daemon.access.Load().Clients {
		k.clients[gossip.ClientID(name)] = name
	}
	before := m.known.Swap(k)
	for key := range before.upstreams {
		if _, still := k.upstreams[key]; !still {
			m.forget(key)
		}
	}
	m.report(m.tell())
	for _, places := range k.upstreams {
		for _, p := range places {
			if p.cluster.wasProbed(p.id) {
				p.cluster.publish(p.id)
			}
		}
	}
}

// keepFollowing does what peers have decided, until ctx ends.
func (m *mesh) keepFollowing(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.decided:
		}
		m.daemon.publishing.Lock()
		m.report(m.tell())
		m.daemon.publishing.Unlock()
	}
}

func (m *mesh) signal() {
	select {
	case m.decided <- struct{}{}:
	default:
	}
}

// errNotTold is of a decision that holds on this host alone.
var errNotTold = errors.New("it holds on this host, but could not be told to the others")

// tell makes what was decided here hold on all nodes, once one of them is
// there: then it is known what they have decided. It is tried again with each
// decision. d.publishing is held.
func (m *mesh) tell() error {
	if m == nil {
		return nil
	}
	pending := m.daemon.intents.snapshot().Pending
	if len(pending) == 0 || !m.joined.Load() {
		m.follow()
		return nil
	}
	now := time.Now()
	theirs := intentState{Mesh: m.gossip.Export()}.decisions()
	var left []gossip.Intent
	var problems []error
	for _, p := range pending {
		if p.Expired(now) {
			p = gossip.Intent{Kind: p.Kind, Target: p.Target, Counter: p.Counter}
		}
		// What gives something back does so with what it knew of.
		if other := theirs[subjectOf(p)]; !p.On && holds(other, now) && other.Counter > p.Counter {
			continue
		}
		if _, err := m.gossip.Intend(p); err != nil {
			left, problems = append(left, p), append(problems, err)
		}
	}
	m.settle(left)
	if len(problems) == 0 {
		m.untold = 0
		return nil
	}
	return fmt.Errorf("%w: %w", errNotTold, problems[0])
}

// report logs that something could not be told, where no operator waits for an
// answer, each time that it is more or less.
func (m *mesh) report(err error) {
	if err == nil {
		return
	}
	if n := len(m.daemon.intents.snapshot().Pending); n != m.untold {
		m.untold = n
		m.log.Error("decisions hold on this host alone", zap.Int("decisions", n), zap.Error(err))
	}
}

// follow makes what was decided on all nodes hold here. d.publishing is held.
func (m *mesh) follow() {
	if m != nil {
		m.settle(m.daemon.intents.snapshot().Pending)
	}
}

// settle is follow, with what the peers are yet to be told.
func (m *mesh) settle(pending []gossip.Intent) {
	before := m.daemon.intents.snapshot()
	m.daemon.intents.settle(m.gossip.Export(), pending, m.known.Load())
	changes, _ := m.daemon.enforce(before)
	if len(changes) == 0 {
		return
	}
	decisions := m.daemon.intents.snapshot().decisions()
	for _, c := range changes {
		i := decisions[c.subject]
		if i.By == "" || i.By == m.name {
			continue
		}
		fields := []zap.Field{zap.String("kind", string(c.kind)), zap.Bool("on", c.on), zap.String("by", i.By), zap.String("reason", i.Reason)}
		if c.kind == gossip.Revoke {
			fields = append(fields, zap.String("client", c.client))
		} else {
			fields = append(fields, zap.String("cluster", c.cluster), zap.String("upstream", c.upstream))
		}
		m.log.Info("a decision of another node holds here, too", fields...)
	}
}

// onObservation is told what a peer sees. It is advice: a DOWN has the server
// probed now, and an UP ends a back-off early. Only of a server that was never
// probed from here it is the first state.
func (m *mesh) onObservation(o gossip.Observation) {
	for _, p := range m.known.Load().upstreams[o.Upstream] {
		own := p.cluster.group.State(p.id)
		switch {
		case o.State == gossip.StateDown && own != health.Down, o.State.Up() && own != health.Ready:
			p.cluster.group.ProbeNow(p.id)
		}
		if majority, ok := m.gossip.Majority(o.Upstream); ok {
			p.cluster.assume(p.id, majority)
		}
	}
}

// onPeer is told that a peer came, went or changed.
func (m *mesh) onPeer(p gossip.Peer) {
	if m.states[p.Name] == wordFor(p) {
		return
	}
	listed := make(map[string]bool)
	for _, peer := range m.gossip.Snapshot().Peers {
		listed[peer.Name] = true
	}
	maps.DeleteFunc(m.states, func(name, _ string) bool { return !listed[name] })
	m.states[p.Name] = wordFor(p)
	m.daemon.events.Add(admin.Event{Kind: admin.EventPeer, Text: fmt.Sprintf("peer %s (%s) is %s", p.Name, p.Address, wordFor(p))})
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
	p.AdminAddress = adminAddressFor(d.AdminAddr(), m.gossip.Addr())
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

// announceLeave tells the peers that this node is about to go. Until it does,
// decisions come as before.
func (m *mesh) announceLeave() {
	if m != nil {
		m.gossip.AnnounceLeave()
	}
}

// leaveTimeout is a moment: who does not hear it finds out.
const leaveTimeout = 2 * time.Second

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
