package e2e

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// partitions are how long a node is cut off: 20 s, and with KUBERELAY_E2E_LONG,
// as make mesh sets it, a minute and ten, too.
func partitions() []time.Duration {
	all := []time.Duration{20 * time.Second}
	if os.Getenv("KUBERELAY_E2E_LONG") != "" {
		all = append(all, time.Minute, 10*time.Minute)
	}
	return all
}

// TestMeshPartition cuts a node off from its peers, not from the API servers,
// under load on all nodes. Operators decide something on both sides.
func TestMeshPartition(t *testing.T) {
	t.Parallel()
	pod := newPod(t)
	m := startCuttable(t)
	first, second, third := m.nodes[0], m.nodes[1], m.nodes[2]
	running := m.startLoad(m.loads, m.nodes...)
	drained, disputed := first.setup.upstreams[2], first.setup.upstreams[1]
	var shells []*streams // one on each node, from the beginning to the end
	for i, n := range m.nodes {
		shells = append(shells, &streams{name: m.loads[i].name, shell: n.byToken(m.loads[i]).startKubectl("exec", "-i", pod, "--", "cat")})
	}
	alive := func() {
		t.Helper()
		for _, s := range shells {
			s.shellAlive(t)
		}
	}
	alive()
	for _, length := range partitions() {
		begun := time.Now()
		m.awaitHealth(time.Minute)
		t.Logf("memberlist thinks well of all nodes after %v", time.Since(begun).Round(time.Millisecond))
		begun = time.Now()
		m.network.cut(gossipLink(2))
		apart := third.awaitPeers(map[string]string{"node-1": "dead", "node-2": "dead"}, 20*time.Second)
		first.awaitPeers(map[string]string{"node-2": "alive", "node-3": "dead"}, 20*time.Second)
		first.must("drain", "lab", drained)
		third.must("revoke", "alice")
		first.awaitDecided(decided{drained: []string{drained}}, time.Second)
		second.awaitDecided(decided{drained: []string{drained}}, time.Second)
		third.awaitDecided(decided{revoked: []string{"alice"}}, time.Second)
		// Of one server, one side says this and the other one that.
		first.must("drain", "lab", disputed)
		third.must("drain", "lab", disputed)
		third.must("undrain", "lab", disputed)
		ended := time.NewTimer(length - time.Since(begun))
		<-ended.C
		alive()
		m.network.mend(gossipLink(2))
		healed := time.Now()
		whole := m.awaitWhole(20 * time.Second)
		var same decided
		first.awaitStatus("what both sides decided", 20*time.Second-time.Since(healed), func(s meshStatus) bool {
			same = decided{s.draining(), s.revoked()}
			return slices.Contains(same.drained, drained) && slices.Equal(same.revoked, []string{"alice"})
		})
		for _, n := range m.nodes {
			n.awaitDecided(same, 20*time.Second-time.Since(healed))
		}
		converged := time.Since(healed)
		t.Logf("cut off for %v: the third had lost both others after %v; whole again %v after the end of it, both sides' decisions (%v) everywhere after %v",
			length, apart.Round(time.Millisecond), whole.Round(time.Millisecond), same, converged.Round(time.Millisecond))

		// Back again, from nodes that did not decide it.
		third.must("undrain", "lab", drained)
		second.must("undrain", "lab", disputed)
		second.must("revoke", "alice", "--lift")
		for _, n := range m.nodes {
			n.awaitDecided(decided{}, time.Second)
		}
	}
	alive()
	running.check(t, false)
}

// awaitHealth waits until no node doubts itself: one whose probes went
// unanswered is slow to take others for dead, for a while after that.
func (m *mesh) awaitHealth(within time.Duration) {
	m.t.Helper()
	limit := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, n := range m.nodes {
		for n.count("kuberelay_gossip_health_score", "") != 0 {
			if <-tick.C; time.Now().After(limit) {
				m.t.Fatalf("%s has health score %v after %v", nodeName(n.index), n.count("kuberelay_gossip_health_score", ""), within)
			}
		}
	}
}

// TestMeshWithoutUDP blocks UDP between two of three nodes, and not TCP.
func TestMeshWithoutUDP(t *testing.T) {
	t.Parallel()
	m := startCuttable(t)
	running := m.startLoad(m.loads, m.nodes...)
	failed := func() (sum float64) {
		for _, n := range m.nodes {
			sum += n.count("kuberelay_gossip_peer_events_total", `event="failed"`)
		}
		return sum
	}
	sees := func(n *meshNode, peer, udp string) func(meshStatus) bool {
		return func(s meshStatus) bool {
			for _, p := range s.Peers {
				if p.Name == peer {
					return p.UDP == udp
				}
			}
			return false
		}
	}
	for peer, n := range map[string]*meshNode{"node-3": m.nodes[1], "node-2": m.nodes[2]} {
		n.awaitStatus("UDP to "+peer, 20*time.Second, sees(n, peer, "ok"))
	}
	begun := time.Now()
	m.network.blockUDP(1, 2)
	for peer, n := range map[string]*meshNode{"node-3": m.nodes[1], "node-2": m.nodes[2]} {
		n.awaitStatus("UDP to "+peer+" blocked", time.Minute, sees(n, peer, "blocked"))
		t.Logf("the status of %s says that UDP to %s is blocked %v after that", nodeName(n.index), peer, time.Since(begun).Round(time.Millisecond))
		ctx, cancel := context.WithDeadline(t.Context(), begun.Add(time.Minute))
		_, err := n.log.wait(ctx, func(line string) bool {
			return strings.Contains(line, "UDP to the peer is blocked") && strings.Contains(line, peer)
		})
		cancel()
		if err != nil {
			t.Errorf("the log of %s does not say so", nodeName(n.index))
		}
		if out := n.operate("status").stdout; !strings.Contains(out, "blocked") {
			t.Errorf("kuberelay status on %s does not say so: %s", nodeName(n.index), out)
		}
	}
	m.nodes[0].awaitStatus("UDP", time.Second, func(s meshStatus) bool {
		return sees(m.nodes[0], "node-2", "ok")(s) && sees(m.nodes[0], "node-3", "ok")(s)
	})

	// Decisions do not wait for a packet.
	m.nodes[1].must("revoke", "alice")
	took := m.nodes[2].awaitDecided(decided{revoked: []string{"alice"}}, 2*time.Second)
	t.Logf("a revocation reached the node behind the block after %v", took.Round(time.Millisecond))

	// Longer than it takes memberlist to give a peer up.
	held := time.NewTimer(12 * time.Second)
	<-held.C
	if n := failed(); n != 0 {
		t.Errorf("peers were taken for dead %v times", n)
	}
	m.awaitWhole(time.Second)

	m.network.unblockUDP(1, 2)
	begun = time.Now()
	for peer, n := range map[string]*meshNode{"node-3": m.nodes[1], "node-2": m.nodes[2]} {
		n.awaitStatus("UDP to "+peer+" not blocked", time.Minute, sees(n, peer, "ok"))
	}
	t.Logf("UDP is ok again %v after the end of it", time.Since(begun).Round(time.Millisecond))
	running.check(t, false)
}

// TestMeshIsolated takes the API servers from one node, and leaves it its peers.
// It says that it is cut off, and they go on: its word is advice.
func TestMeshIsolated(t *testing.T) {
	t.Parallel()
	m := startCuttable(t)
	others := m.nodes[:2]
	running := m.startLoad(m.loads, others...)
	begun := time.Now()
	m.network.cut(clientsLink(2))
	alone := m.nodes[2]
	says := func() bool { // by its control socket, which is no network's
		return strings.Contains(alone.operate("status").stdout, "THIS HOST SEEMS CUT OFF")
	}
	await(t, "word of node-3 that it is cut off", says)
	t.Logf("node-3 says that it is cut off after %v", time.Since(begun).Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := alone.log.wait(ctx, func(line string) bool {
		return strings.Contains(line, "this host seems cut off") && !slices.ContainsFunc(m.network.servers, func(id string) bool { return !strings.Contains(line, id) })
	})
	if err != nil {
		t.Errorf("the log of node-3 does not name all servers that it is cut off from: %v", err)
	}
	for _, n := range others {
		n.awaitStatus("node-3 has seen servers DOWN", 2*time.Second, func(s meshStatus) bool {
			for _, p := range s.Peers {
				for _, o := range p.Observations {
					if p.Name == "node-3" && o.State == "DOWN" {
						return true
					}
				}
			}
			return false
		})
		all, err := n.upstreams()
		check(t, err)
		for id, u := range all {
			if u.State != "READY" || u.Since.After(begun) {
				t.Errorf("%s has %s %s since %v, want READY since before the cut at %v", nodeName(n.index), id, u.State, u.Since, begun)
			}
		}
	}
	m.network.mend(clientsLink(2))
	begun = time.Now()
	await(t, "end of node-3's being cut off", func() bool { return !says() })
	t.Logf("and not any more %v after the end of it", time.Since(begun).Round(time.Millisecond))
	running.check(t, false)
}
