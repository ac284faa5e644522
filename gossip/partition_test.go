package gossip

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// The times are a tenth of those on a network: five seconds are long enough
// that memberlist has forgotten who is on the other side.
func TestAPartitionHealsByItself(t *testing.T) {
	w := newWires()
	first := start(t, wiredBy(w))
	nodes := []*node{first}
	for range 3 {
		nodes = append(nodes, start(t, wiredBy(w), peersOf(first)))
	}
	within(t, 10*time.Second, "the mesh", func() bool { return whole(nodes) })

	// The first one has no seeds, and is the only seed of the others: it is
	// found again, and finds the others again.
	w.set("all", nodes[:2], nodes[2:])
	within(t, 10*time.Second, "both sides to know", func() bool {
		return whole(nodes[:2]) && whole(nodes[2:])
	})
	nodes[0].see(upstreamA, StateDown)
	nodes[3].see(upstreamA, StateReady)
	if _, err := nodes[2].Intend(Intent{Kind: Drain, Target: upstreamB, On: true}); err != nil {
		t.Fatal(err)
	}
	wait(t, 5*time.Second)
	if got := len(nodes[0].observed(upstreamA)); got != 1 {
		t.Errorf("%d observations came through the partition", got)
	}

	w.set("", nodes[:2], nodes[2:])
	healed := time.Now()
	within(t, 2*time.Second, "the mesh again", func() bool { return whole(nodes) })
	t.Logf("whole %v after the end of the partition, with a tenth of the times", time.Since(healed))
	for _, n := range nodes {
		within(t, 2*time.Second, "one state", func() bool {
			return len(n.observed(upstreamA)) == 2 && len(n.holding()) == 1
		})
	}
	if nodes[0].metric("joins_total", "ok")+nodes[2].metric("joins_total", "ok")+nodes[3].metric("joins_total", "ok") == 0 {
		t.Error("no join is counted")
	}
}

func TestAPeerThatIsNotConfiguredIsFoundAgainAsLongAsItIsNotForgotten(t *testing.T) {
	w := newWires()
	forgets := func(_ *Config, o *Options) { o.Profile.ForgetAfter = time.Second }
	lonely := start(t, wiredBy(w), forgets) // It has no seeds.
	other := start(t, wiredBy(w), forgets, peersOf(lonely))
	pair := []*node{lonely, other}
	within(t, 5*time.Second, "the mesh", func() bool { return whole(pair) })
	w.set("all", pair[:1], pair[1:])
	within(t, 10*time.Second, "the seedless one to forget", func() bool { return len(lonely.Snapshot().Peers) == 0 })
	w.set("", pair[:1], pair[1:])
	within(t, 3*time.Second, "the one with the seed to come back", func() bool { return whole(pair) })
}

func TestTheLastOfThreeNodesStillWorks(t *testing.T) {
	nodes := startMesh(t, 3)
	for _, n := range nodes[:2] {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	within(t, 10*time.Second, "their deaths", func() bool { return nodes[2].totals().alive == 0 })
	nodes[2].see(upstreamA, StateReady)
	if _, err := nodes[2].Intend(Intent{Kind: Drain, Target: upstreamA, On: true}); err != nil {
		t.Error(err)
	}
	if n := nodes[2]; len(n.Snapshot().Observations) != 1 || len(n.holding()) != 1 || n.queue.len() != 0 {
		t.Errorf("snapshot %+v, intents %v, %d messages queued", n.Snapshot(), n.holding(), n.queue.len())
	}
}

// names is a resolver whose answers change.
type names struct {
	mu    sync.Mutex
	hosts map[string][]netip.Addr
	srv   map[string][]*net.SRV
	asked int
}

func (r *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if ips, ok := r.hosts[host]; ok {
		return ips, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (r *names) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if records, ok := r.srv[name]; ok {
		return name, records, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (r *names) set(host string, ips ...netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts[host] = ips
}

func TestNamesAreLookedUpAnewAtEveryAttempt(t *testing.T) {
	resolver := &names{hosts: map[string][]netip.Addr{}}
	seed := start(t)
	n := start(t, func(c *Config, o *Options) {
		o.Resolver = resolver
		c.Peers = []string{net.JoinHostPort("bastions.example.org", portOf(seed))}
	})
	within(t, 3*time.Second, "a look-up that fails", func() bool { return n.metric("seed_errors_total", "") > 0 })
	if n.totals().alive != 0 {
		t.Fatal("a peer without an address was found")
	}
	resolver.set("bastions.example.org", seed.ip)
	within(t, 3*time.Second, "the peer by its name", func() bool { return n.totals().alive == 1 })

	// The peer is replaced by another, at another address, on the same port.
	if err := seed.Stop(); err != nil {
		t.Fatal(err)
	}
	other := newIP()
	successor := start(t, at(net.JoinHostPort(other.String(), portOf(seed))))
	resolver.set("bastions.example.org", other)
	within(t, 10*time.Second, "the successor by the same name", func() bool { return n.peer(successor.name).State == PeerAlive })
}

func portOf(n *node) string {
	_, port, _ := net.SplitHostPort(n.Addr().String())
	return port
}
