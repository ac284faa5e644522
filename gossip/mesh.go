package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options are what a mesh gets from the program around it. All are optional.
// The hooks are called one at a time, from one goroutine, in no lock of
// memberlist's or of the mesh's: they may call the mesh, Stop excepted, and
// should not block.
// What changes again before its hook is called is told once.
type Options struct {
	// Log gets what happens. Default none.
	Log *zap.Logger
	// Registerer gets the metrics until [Mesh.Stop].
	Registerer prometheus.Registerer
	// Profile are the times. Default [LAN].
	Profile Profile
	// Resolver looks up addresses and peers. Default [net.DefaultResolver].
	Resolver Resolver
	// Knows says whether an [UpstreamID] is configured here. Observations of
	// others are kept and passed on, and told and counted nowhere. Called from
	// any goroutine, under the mesh's lock: it must not call the mesh or wait.
	// What becomes known later is not told again; see [Mesh.Observations].
	// Default all are.
	Knows func(upstream string) bool
	// OnObservation gets what a peer newly says of an upstream.
	OnObservation func(Observation)
	// OnIntent gets what an operator newly decided elsewhere. Two decisions
	// about one target come in the order in which they hold.
	OnIntent func(Intent)
	// OnJoin is called once, after the first exchange of maps with a peer, and
	// after OnIntent was for all decisions that came with it.
	OnJoin func()
	// OnPeer gets a peer that came, went, or whose particulars or reachability
	// changed; its load excepted.
	OnPeer func(Peer)

	// For tests: the epoch, the addresses of this host, and what is between
	// memberlist and the sockets.
	epoch uint64
	host  func() ([]candidate, error)
	wrap  func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Knows == nil {
		o.Knows = func(string) bool { return true }
	}
	if o.OnObservation == nil {
		o.OnObservation = func(Observation) {}
	}
	if o.OnIntent == nil {
		o.OnIntent = func(Intent) {}
	}
	if o.OnJoin == nil {
		o.OnJoin = func() {}
	}
	if o.OnPeer == nil {
		o.OnPeer = func(Peer) {}
	}
	if o.host == nil {
		o.host = hostCandidates
	}
	if o.wrap == nil {
		o.wrap = func(t memberlist.NodeAwareTransport) memberlist.NodeAwareTransport { return t }
	}
	if o.epoch == 0 {
		// It orders this node's runs, and is compared with nobody else's.
		o.epoch = uint64(time.Now().UnixMilli())
	}
	o.Profile = o.Profile.withDefaults()
	return o
}

// Mesh is this node among its peers. Its methods are safe for concurrent use.
type Mesh struct {
	options Options
	profile Profile
	log     *zap.Logger
	metrics *metrics
	name    string
	label   string
	allowed *allowList
	keyring *memberlist.Keyring
	queue   *queue
	notices *notices

	// Set by Start.
	members   atomic.Pointer[memberlist.Memberlist]
	alive     atomic.Int64 // peers; the queue asks for it under its lock
	transport memberlist.NodeAwareTransport
	advertise atomic.Pointer[netip.AddrPort]
	bound     netip.AddrPort
	stop      context.CancelFunc
	stopLoops context.CancelFunc // all but the one that calls hooks
	wg        sync.WaitGroup
	kick      chan struct{} // of the join loop
	ctx       context.Context

	starting sync.Mutex // serializes Start, Leave, Stop and Reload
	started  bool       // guarded by starting
	left     bool       // guarded by starting
	stopped  bool       // guarded by starting
	config   Config     // guarded by starting

	// No method of memberlist's is called under mu: its delegates take mu under
	// memberlist's own locks.
	mu          sync.Mutex
	closed      bool // nothing more is sent
	replica     *replica
	epoch       uint64 // of this node's run
	seq         uint64 // the last one used in it
	self        selfFacts
	selfSent    time.Time // when self was last put into the replica
	peers       map[string]*peer
	seeds       []seed
	keys        []key
	unheard     map[entryKey]sentNews
	refuted     time.Time // when the epoch was last raised
	refuteAfter time.Duration
	joined      bool                 // whether a map was exchanged with somebody
	rival       string               // the address of another node with this name
	rivalAt     time.Time            // when it was last seen
	lastName    map[string]time.Time // when a conflict was last logged, by name
}

// New makes a mesh of a valid c. It reads the key files and registers the
// metrics; nothing is looked up or sent before Start.
func New(c Config, o Options) (*Mesh, error) {
	if !c.Enabled() {
		return nil, errors.New("gossip: the section is empty: it is off")
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	name, err := c.nodeName()
	if err != nil {
		return nil, err
	}
	keys, err := loadKeys(c.SecretKeyFiles)
	if err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(rawKeys(keys), keys[0].raw())
	if err != nil {
		return nil, fmt.Errorf("secretKeyFiles: %w", err)
	}
	m := &Mesh{
		options: o, profile: o.Profile, log: o.Log, metrics: newMetrics(), config: c,
		name: name, label: c.label(), allowed: &allowList{}, keyring: ring, notices: newNotices(),
		kick: make(chan struct{}, 1), replica: newReplica(), epoch: o.epoch, keys: keys,
		peers: map[string]*peer{}, unheard: map[entryKey]sentNews{}, lastName: map[string]time.Time{},
	}
	m.queue = newQueue(m.nodes)
	m.seeds, m.self.keyIDs = c.seeds(), keyIDs(keys)
	m.allowed.set(c.prefixes())
	m.metrics.watch(m)
	if err := m.metrics.register(o.Registerer); err != nil {
		return nil, fmt.Errorf("gossip: metrics: %w", err)
	}
	return m, nil
}

// Start listens, and joins the peers in the background: that none is there is
// no error. The context bounds the lookup of this node's own addresses.
func (m *Mesh) Start(ctx context.Context) error {
	m.starting.Lock()
	defer m.starting.Unlock()
	if m.started || m.stopped {
		return errors.New("gossip: a mesh starts once")
	}
	a, err := resolveAddresses(ctx, m.config, m.options.Resolver, m.options.host)
	if err != nil {
		return err
	}
	if err := m.allowed.fits(a.advertise); err != nil {
		return err
	}
	t, err := listen(ctx, a, m.allowed, m.metrics)
	if err != nil {
		return err
	}
	m.transport = m.options.wrap(t)
	m.advertise.Store(&t.advertise)
	m.bound = netip.AddrPortFrom(a.bind.Addr(), t.port())
	m.ctx, m.stop = context.WithCancel(context.Background())
	var loops context.Context
	loops, m.stopLoops = context.WithCancel(m.ctx)

	m.mu.Lock()
	m.publishSelf(false)
	m.mu.Unlock()
	members, err := memberlist.Create(m.memberlistConfig())
	if err != nil {
		m.stop()
		return errors.Join(fmt.Errorf("gossip: %w", err), t.Shutdown())
	}
	m.members.Store(members)
	m.started = true
	m.wg.Go(func() { m.notify(m.ctx) })
	m.wg.Go(func() { m.maintain(loops) })
	m.wg.Go(func() { m.rejoin(loops) })
	m.wg.Go(func() { m.checkReachability(loops) })
	m.log.Info("gossip listens", zap.Stringer("bind", a.bind), zap.Stringer("advertise", t.advertise),
		zap.String("node", m.name), zap.String("label", m.label), zap.Strings("keys", m.keyIDs()))
	return nil
}

func (m *Mesh) memberlistConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label, c.Keyring = m.name, m.label, m.keyring
	c.Transport = m.transport
	c.AdvertiseAddr, c.AdvertisePort = m.Addr().Addr().String(), int(m.Addr().Port())
	c.BindPort = c.AdvertisePort
	c.ProbeInterval, c.ProbeTimeout = m.profile.ProbeInterval, m.profile.ProbeTimeout
	c.GossipInterval, c.PushPullInterval = m.profile.GossipInterval, m.profile.PushPullInterval
	c.TCPTimeout = m.profile.StreamTimeout
	c.GossipToTheDeadTime, c.DeadNodeReclaimTime = m.profile.DeadTime, m.profile.DeadTime
	c.EnableCompression = false // Packets are small, and what unpacks can be made to unpack much.
	c.RetransmitMult = retransmitMult
	// A node that was cut off doubts itself, and is slow to see who is gone, for
	// as long as this times its probe interval. The default of 8 is for crowds.
	c.AwarenessMaxMultiplier = 3
	delegate := &delegate{m}
	c.Delegate, c.Events, c.Alive, c.Conflict, c.Ping = delegate, delegate, delegate, delegate, delegate
	c.Logger = log.New(&logWriter{log: m.log, ignore: m.metrics.ignore, now: time.Now, kinds: map[string]*logKind{}}, "", 0)
	return c
}

// AnnounceLeave tells the peers that this node is about to leave. Until it does,
// by [Mesh.Leave], it is one of them.
func (m *Mesh) AnnounceLeave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.self.leaving {
		m.self.leaving = true
		m.publishSelf(true)
	}
}

// Leave tells the peers that this node goes, so that they do not look for it
// and its name is free at once. It returns when that is sent, or at the end of
// ctx or after five seconds. Stop comes after it.
func (m *Mesh) Leave(ctx context.Context) error {
	m.starting.Lock()
	defer m.starting.Unlock()
	if !m.started || m.left || m.stopped {
		return nil
	}
	m.left = true
	m.stopLoops() // Lest the loop joins again.
	m.mu.Lock()
	m.self.leaving = true
	m.publishSelf(true)
	m.mu.Unlock()
	if m.alive.Load() > 0 {
		// Whoever has heard it calls this node left, and others failed.
		m.wait(ctx, 2*m.profile.GossipInterval)
	}
	timeout := leaveTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	if err := m.members.Load().Leave(timeout); err != nil {
		return fmt.Errorf("gossip: peers may take this node for failed: %w", err)
	}
	return nil
}

// wait returns after d, or at the end of ctx.
func (m *Mesh) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

const leaveTimeout = 5 * time.Second

// Stop ends everything, unregisters the metrics and returns when no hook runs
// any more. Without Leave, peers take the node for failed. It can be called
// again.
func (m *Mesh) Stop() error {
	m.starting.Lock()
	defer m.starting.Unlock()
	if m.stopped {
		return nil
	}
	m.stopped = true
	var err error
	if m.started {
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		m.stopLoops()
		err = m.members.Load().Shutdown()
		m.stop()
		m.wg.Wait()
	}
	m.metrics.unregister(m.options.Registerer)
	return err
}

// Name returns this node's name.
func (m *Mesh) Name() string { return m.name }

// Addr returns where peers reach this node; before Start, no valid address.
func (m *Mesh) Addr() netip.AddrPort {
	if a := m.advertise.Load(); a != nil {
		return *a
	}
	return netip.AddrPort{}
}

// nodes counts this node and its peers, for the queue.
func (m *Mesh) nodes() int {
	return int(m.alive.Load()) + 1
}

func (m *Mesh) healthScore() int {
	if members := m.members.Load(); members != nil {
		return members.GetHealthScore()
	}
	return 0
}

func (m *Mesh) keyIDs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.self.keyIDs)
}

func rawKeys(keys []key) [][]byte {
	raw := make([][]byte, len(keys))
	for i, k := range keys {
		raw[i] = k.raw()
	}
	return raw
}

func (c Config) seeds() []seed {
	seeds := make([]seed, 0, len(c.Peers))
	for _, text := range c.Peers {
		if s, err := parseSeed(text); err == nil { // Validate has seen to it.
			seeds = append(seeds, s)
		}
	}
	return seeds
}

func (c Config) prefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(c.AllowedCIDRs))
	for _, text := range c.AllowedCIDRs {
		if p, err := parseCIDR(text); err == nil {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}
