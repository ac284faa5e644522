package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// Mesh is this node's part in a mesh of peers. Its methods are safe for
// concurrent use.
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

	// Set by Start, or by what it leaves behind to try again.
	members   atomic.Pointer[memberlist.Memberlist]
	alive     atomic.Int64 // peers; atomic, as the queue reads it under its own lock
	transport memberlist.NodeAwareTransport
	advertise atomic.Pointer[netip.AddrPort]
	bound     netip.AddrPort
	stop      context.CancelFunc
	stopLoops context.CancelFunc // all but the one that calls hooks
	wg        sync.WaitGroup
	opening   sync.WaitGroup         // of what tries again to listen; before wg
	trouble   atomic.Pointer[string] // why it has to
	kick      chan struct{}          // of the join loop
	ctx       context.Context

	starting sync.Mutex // serialises Start, Leave, Stop and Reload
	started  bool       // guarded by starting
	left     bool       // guarded by starting
	stopped  bool       // guarded by starting
	config   Config     // guarded by starting

	// No method of memberlist's is called under mu: its delegates take mu under
	// memberlist's own locks.
	mu sync.Mutex
	meshState
}

// meshState is what changes while a mesh runs. Mesh.mu guards all of it.
type meshState struct {
	closed  bool     // nothing more is sent
	joined  bool     // the map was exchanged with somebody
	tracing bool     // met is filled
	met     []string // nodes with which the map was exchanged on joining
	replica *replica
	peers   map[string]*peer
	seeds   []seed
	keys    []key

	// What this node says.
	epoch    uint64 // of this run
	seq      uint64 // the last one used in this run
	self     selfFacts
	selfSent time.Time             // when self was last put into the replica
	unheard  map[entryKey]sentNews // news that no peer was heard to pass on yet

	// What others say in its name.
	refuted     time.Time            // when the epoch was last raised
	refuteAfter time.Duration        // until it may be raised again
	rival       string               // the address of another node with this name
	rivalAt     time.Time            // when that was last seen
	lastName    map[string]time.Time // when a name conflict was last logged, by name
}

// New makes a mesh from a valid c. It reads the key files and registers the
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
		kick: make(chan struct{}, 1),
		meshState: meshState{
			replica: newReplica(), peers: map[string]*peer{}, seeds: c.seeds(), keys: keys,
			epoch: o.epoch, self: selfFacts{keyIDs: keyIDs(keys)},
			unheard: map[entryKey]sentNews{}, lastName: map[string]time.Time{},
		},
	}
	m.queue = newQueue(m.nodes)
	m.allowed.set(c.prefixes())
	m.metrics.watch(m)
	if err := m.metrics.register(o.Registerer); err != nil {
		return nil, fmt.Errorf("gossip: metrics: %w", err)
	}
	return m, nil
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
	c.EnableCompression = false // Packets are small, and a decompressor can be made to fill the memory.
	c.RetransmitMult = retransmitMult
	// A node that was cut off doubts itself, and multiplies its probe interval by
	// up to this much: it is slow to see who is gone. The default of 8 is for
	// large meshes.
	c.AwarenessMaxMultiplier = 3
	delegate := &delegate{m}
	c.Delegate, c.Events, c.Alive, c.Conflict, c.Ping = delegate, delegate, delegate, delegate, delegate
	c.Logger = log.New(&logWriter{log: m.log, ignore: m.metrics.ignore, now: time.Now, kinds: map[string]*logKind{}}, "", 0)
	return c
}

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
