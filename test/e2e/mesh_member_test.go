package e2e

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMeshKeys changes the key of three nodes in three steps under load, then
// does it wrong.
func TestMeshKeys(t *testing.T) {
	m := startPeopled(t, newMeshNetwork(t, meshNodes))
	running := m.startLoad(m.loads, m.nodes...)
	oldKey, newKey, foreign := m.key, newGossipKey(t), newGossipKey(t)
	before := m.primaryKey()
	for _, step := range []struct {
		name string
		keys []string
	}{
		{"the new key is the last", []string{oldKey, newKey}},
		{"the new key is the first", []string{newKey, oldKey}},
		{"the old key is gone", []string{newKey}},
	} {
		begun := time.Now()
		for _, n := range m.nodes {
			n.useKeys(step.keys...)
			n.must("reload")
		}
		m.awaitSameKeys(len(step.keys), 5*time.Second)
		t.Logf("%s: on all nodes and known to all %v after the first reload began", step.name, time.Since(begun).Round(time.Millisecond))
		// Long enough for each to be probed by each. What cannot be decrypted is
		// counted.
		held := time.NewTimer(2 * time.Second)
		<-held.C
		m.awaitWhole(0)
		for _, n := range m.nodes {
			if ignored := n.count("kuberelay_gossip_ignored_total", `reason="key"`); ignored != 0 {
				t.Errorf("%s: %s has ignored %v messages for their key", step.name, nodeName(n.index), ignored)
			}
		}
	}
	if after := m.primaryKey(); after == before {
		t.Errorf("the nodes still encrypt with key %s", before)
	}

	// What the others lack.
	first := m.nodes[0]
	first.useKeys(foreign, newKey)
	before = m.primaryKey()
	if r := first.operate("reload"); r.code != 1 || !strings.Contains(r.stderr, "node-2, node-3 would be cut off") {
		t.Errorf("reload with a key that the others lack: %+v, want exit code 1 and their names", r)
	}
	if after := m.primaryKey(); after != before {
		t.Errorf("the refused key is in force: %s", after)
	}
	if r := first.operate("reload", "--force"); r.code != 0 {
		t.Errorf("reload --force: %+v", r)
	}
	if after := m.primaryKey(); after == before {
		t.Error("the forced key is not in force")
	}
	for _, n := range m.nodes[1:] {
		n.useKeys(newKey, foreign)
		n.must("reload")
	}
	m.awaitWhole(20 * time.Second)
	for _, n := range m.nodes {
		if failed := n.count("kuberelay_gossip_peer_events_total", `event="failed"`); failed != 0 {
			t.Errorf("%s has taken peers for dead %v times", nodeName(n.index), failed)
		}
	}
	running.check(t, false)
}

// primaryKey is the ID of the key that the first node encrypts with.
func (m *mesh) primaryKey() (id string) {
	m.t.Helper()
	m.nodes[0].awaitStatus("its own keys", 0, func(s meshStatus) bool {
		for _, p := range s.Peers {
			if p.Self && len(p.KeyIDs) > 0 {
				id = p.KeyIDs[0]
			}
		}
		return id != ""
	})
	return id
}

// awaitSameKeys waits until each node knows of all that they have the same n
// keys.
func (m *mesh) awaitSameKeys(n int, within time.Duration) {
	m.t.Helper()
	for _, node := range m.nodes {
		node.awaitStatus("the same keys everywhere", within, func(s meshStatus) bool {
			for _, p := range s.Peers {
				if len(p.KeyIDs) != n || !slices.Equal(p.KeyIDs, s.Peers[0].KeyIDs) {
					return false
				}
			}
			return len(s.Peers) == len(m.nodes)
		})
	}
}

// TestMeshMembers has strangers call and forgeries sent, one node leave, and two
// die.
func TestMeshMembers(t *testing.T) {
	network := newMeshNetwork(t, meshNodes+2)
	_, loads, clients := meshPeople(t)
	o := meshOptions{clients: clients}
	m := startMesh(t, network, o)
	running := m.startLoad(loads, m.nodes...)
	m.strangersStayOutside(o)
	m.forgeriesAreIgnored()
	running.check(t, false)

	first, second, third := m.nodes[0], m.nodes[1], m.nodes[2]
	running = m.startLoad(loads, first, second)
	cause := time.Now()
	check(t, third.cmd.Process.Signal(syscall.SIGTERM))
	for i, n := range []*meshNode{first, second} {
		n.awaitPeers(map[string]string{nodeName(1 - i): "alive", "node-3": "left"}, 2*time.Second-time.Since(cause))
		t.Logf("%s knows %v after SIGTERM that node-3 has left", nodeName(i), time.Since(cause).Round(time.Millisecond))
		if failed := n.count("kuberelay_gossip_peer_events_total", `event="failed"`); failed != 0 {
			t.Errorf("%s took it for dead before", nodeName(i))
		}
	}
	if err := <-third.ended; err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	third.ended <- nil // for the cleanup
	running.check(t, false)
	third.start(t)
	m.awaitWhole(20 * time.Second)

	undisturbed := m.startLoad(loads, third)
	undisturbed.loads[0].awaitRequests(2 * meshRate)
	undisturbed.check(t, false)
	running = m.startLoad(loads, third)
	cause = time.Now()
	first.end(syscall.SIGKILL)
	second.end(syscall.SIGKILL)
	third.awaitPeers(map[string]string{"node-1": "dead", "node-2": "dead"}, 20*time.Second)
	t.Logf("node-3 has both others dead %v after kill -9", time.Since(cause).Round(time.Millisecond))
	resp, err := http.Get(third.Admin + "/readyz")
	check(t, err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz of the one that is left: HTTP %d, want 200", resp.StatusCode)
	}
	running.check(t, false)
	t.Logf("half of node-3's reads took %v at most before, %v without the others", undisturbed.loads[0].median(), running.loads[0].median())
}

// strangersStayOutside starts one node with another key and one with another
// label, and waits until all have heard both.
func (m *mesh) strangersStayOutside(o meshOptions) {
	m.t.Helper()
	wrongKey, wrongLabel := m.newNode(len(m.nodes), o), m.newNode(len(m.nodes)+1, o)
	wrongKey.keys, wrongLabel.label = []string{newGossipKey(m.t)}, "another"
	var strangers []*meshNode
	for _, n := range []*meshNode{wrongKey, wrongLabel} {
		n.describe()
		n.write(m.t)
		n.launch(m.t)
		strangers = append(strangers, n)
	}
	for _, reason := range []string{"key", "label"} {
		for _, n := range m.nodes {
			await(m.t, "stranger of the "+reason+" at "+nodeName(n.index), func() bool {
				return n.count("kuberelay_gossip_ignored_total", `reason="`+reason+`"`) > 0
			})
		}
	}
	for _, n := range m.nodes {
		m.t.Logf("%s has ignored %v messages for their key, %v for their label", nodeName(n.index),
			n.count("kuberelay_gossip_ignored_total", `reason="key"`), n.count("kuberelay_gossip_ignored_total", `reason="label"`))
		if joined := n.count("kuberelay_gossip_peer_events_total", `event="joined"`); int(joined) != len(m.nodes)-1 {
			m.t.Errorf("%v peers have joined %s, want the two others", joined, nodeName(n.index))
		}
	}
	m.awaitWhole(0)
	for _, n := range strangers {
		n.awaitPeers(map[string]string{}, 0)
		n.end(syscall.SIGKILL)
	}
}

// median of the reads' times.
func (l *load) median() time.Duration {
	var took []time.Duration
	for _, s := range l.reads {
		took = append(took, s.took)
	}
	slices.Sort(took)
	return took[len(took)/2].Round(100 * time.Microsecond)
}
