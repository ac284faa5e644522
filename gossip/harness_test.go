package gossip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// wires are between the nodes of a test, and can be cut.
type wires struct {
	mu  sync.Mutex
	cut map[[2]netip.Addr]string // "" none, "udp", "all"
}

func newWires() *wires { return &wires{cut: map[[2]netip.Addr]string{}} }

// set cuts, or mends with "", what is between each of as and each of bs.
func (w *wires) set(how string, as, bs []*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range as {
		for _, b := range bs {
			w.cut[[2]netip.Addr{a.ip, b.ip}] = how
			w.cut[[2]netip.Addr{b.ip, a.ip}] = how
		}
	}
}

func (w *wires) between(a netip.Addr, address string) string {
	b := netip.MustParseAddrPort(address).Addr()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[[2]netip.Addr{a, b}]
}

// cuttable is a node's end of the wires.
type cuttable struct {
	memberlist.NodeAwareTransport
	wires *wires
	ip    netip.Addr
}

func (c *cuttable) WriteTo(b []byte, address string) (time.Time, error) {
	if c.wires.between(c.ip, address) != "" {
		return time.Now(), nil
	}
	return c.NodeAwareTransport.WriteTo(b, address)
}

func (c *cuttable) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return c.WriteTo(b, a.Addr)
}

func (c *cuttable) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	if c.wires.between(c.ip, address) == "all" {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("the wire is cut")}
	}
	return c.NodeAwareTransport.DialTimeout(address, timeout)
}

func (c *cuttable) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return c.DialTimeout(a.Addr, timeout)
}

// node is a mesh and what its hooks were told.
type node struct {
	*Mesh
	t        *testing.T
	ip       netip.Addr
	registry *prometheus.Registry
	options  Options

	mu           sync.Mutex
	observations []Observation
	intents      []Intent
	peerEvents   []Peer
}

var addressesUsed atomic.Uint32

// newIP returns an address of 127/8 that no other node of the process had.
func newIP() netip.Addr {
	n := addressesUsed.Add(1)
	return netip.AddrFrom4([4]byte{127, 77, byte(n / 250), byte(n%250 + 1)})
}

var meshKey = sync.OnceValue(NewKey)

func keyFile(t *testing.T, key string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// quick is a profile for one host: everything some ten times as fast, at ten
// times the cost.
func quick() Profile {
	return Profile{
		ProbeInterval: 100 * time.Millisecond, ProbeTimeout: 60 * time.Millisecond,
		GossipInterval: 20 * time.Millisecond, PushPullInterval: 2 * time.Second,
		StreamTimeout: time.Second, RejoinInterval: 300 * time.Millisecond,
		FactTTL: 3 * time.Second, ForgetAfter: 30 * time.Second, DeadTime: 2 * time.Second,
		BeaconInterval: time.Second, CheckInterval: 200 * time.Millisecond, Tick: 100 * time.Millisecond,
	}
}

// setting changes a node before it is made.
type setting func(*Config, *Options)

func peersOf(nodes ...*node) setting {
	return func(c *Config, _ *Options) {
		for _, n := range nodes {
			c.Peers = append(c.Peers, n.Addr().String())
		}
	}
}

func wiredBy(w *wires) setting {
	return func(c *Config, o *Options) {
		ip := netip.MustParseAddrPort(c.BindAddress).Addr()
		o.wrap = func(t memberlist.NodeAwareTransport) memberlist.NodeAwareTransport { return &cuttable{t, w, ip} }
	}
}

func named(name string) setting { return func(c *Config, _ *Options) { c.NodeName = name } }

func at(address string) setting { return func(c *Config, _ *Options) { c.BindAddress = address } }

// unstarted makes a node on an address of its own, with the key of all nodes.
func unstarted(t *testing.T, settings ...setting) *node {
	t.Helper()
	ip := newIP()
	n := &node{t: t, registry: prometheus.NewRegistry()}
	c := Config{
		BindAddress: netip.AddrPortFrom(ip, 0).String(), NodeName: fmt.Sprintf("n%d", addressesUsed.Load()),
		SecretKeyFiles: []string{keyFile(t, meshKey())},
	}
	o := Options{Profile: quick(), Registerer: n.registry}
	o.OnObservation = func(o Observation) { n.mu.Lock(); n.observations = append(n.observations, o); n.mu.Unlock() }
	o.OnIntent = func(i Intent) { n.mu.Lock(); n.intents = append(n.intents, i); n.mu.Unlock() }
	o.OnPeer = func(p Peer) { n.mu.Lock(); n.peerEvents = append(n.peerEvents, p); n.mu.Unlock() }
	for _, s := range settings {
		s(&c, &o)
	}
	n.ip = netip.MustParseAddrPort(c.BindAddress).Addr()
	m, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	n.Mesh, n.options = m, o
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return n
}

func start(t *testing.T, settings ...setting) *node {
	t.Helper()
	n := unstarted(t, settings...)
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// startMesh starts nodes that all join the first, and waits until each sees all.
func startMesh(t *testing.T, count int, settings ...setting) []*node {
	t.Helper()
	nodes := []*node{start(t, settings...)}
	for range count - 1 {
		nodes = append(nodes, start(t, append(settings, peersOf(nodes[0]))...))
	}
	within(t, 10*time.Second, "all nodes to see each other", func() bool { return whole(nodes) })
	return nodes
}

func whole(nodes []*node) bool {
	for _, n := range nodes {
		if n.totals().alive != len(nodes)-1 {
			return false
		}
	}
	return true
}

// within asks again and again until ok.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited %v for %s", limit, what)
		case <-tick.C:
		}
	}
}

// stays asks for a while, and fails as soon as not ok.
func stays(t *testing.T, during time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(during)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if !ok() {
			t.Fatalf("no more: %s", what)
		}
		select {
		case <-deadline.C:
			return
		case <-tick.C:
		}
	}
}

func (n *node) toldIntents() []Intent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Intent(nil), n.intents...)
}

func (n *node) toldObservations() []Observation {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Observation(nil), n.observations...)
}

func (n *node) toldPeers() []Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Peer(nil), n.peerEvents...)
}

func (n *node) see(upstream string, state State) {
	n.t.Helper()
	if err := n.Observe(Observation{Upstream: upstream, State: state, Breaker: "closed"}); err != nil {
		n.t.Fatal(err)
	}
}

// observed returns what n and its live peers say of an upstream.
func (n *node) observed(upstream string) []Observation {
	n.Mesh.mu.Lock()
	defer n.Mesh.mu.Unlock()
	return n.observationsOf(upstream)
}

// holding returns the intents that hold.
func (n *node) holding() []Intent {
	return slices.DeleteFunc(n.Export(), func(i Intent) bool { return !i.On || i.Expired(time.Now()) })
}

func (n *node) states(upstream string) map[string]State {
	states := map[string]State{}
	for _, o := range n.observed(upstream) {
		states[o.Node] = o.State
	}
	return states
}

func (n *node) peer(name string) Peer {
	for _, p := range n.Snapshot().Peers {
		if p.Name == name {
			return p
		}
	}
	return Peer{}
}

// metric adds up the series of a metric of the node's, without the prefix, that
// have the label value, or all with "".
func (n *node) metric(name, value string) float64 {
	families, err := n.registry.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "kuberelay_gossip_"+name {
			continue
		}
		for _, series := range f.GetMetric() {
			if value == "" || hasLabel(series, value) {
				sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func hasLabel(series *dto.Metric, value string) bool {
	for _, l := range series.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

var (
	upstreamA = UpstreamID("https://10.0.0.11:6443", nil)
	upstreamB = UpstreamID("https://10.0.0.12:6443", nil)
)
