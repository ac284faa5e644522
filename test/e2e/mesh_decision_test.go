package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// holdsWithin is how soon a decision made on one node has to hold on all.
const holdsWithin = time.Second

// TestMeshDecisions drains a server and revokes a client on one node, restarts
// nodes one by one and all at once, and takes it all back.
func TestMeshDecisions(t *testing.T) {
	pod := newPod(t)
	m := startPeopled(t, newMeshNetwork(t, meshNodes))
	alice, loads := m.alice, m.loads
	first, second, third := m.nodes[0], m.nodes[1], m.nodes[2]
	victim := cluster.Servers[1]
	id := m.network.servers[1]

	// As the API servers have it on record: who asks, tells the node.
	running := m.startLoad(loads, m.nodes...)
	tail, err := cluster.TailAudit()
	check(t, err)
	last := make(map[string]time.Time) // when a request of the client's ended at the victim
	read := func() {
		t.Helper()
		events, err := tail.Next()
		check(t, err)
		for _, e := range events {
			who := e.ImpersonatedUser
			if e.File == victim.AuditLogFile() && e.Stage == "ResponseComplete" && who != nil && strings.HasPrefix(who.Username, "load-") &&
				e.StageTimestamp.After(last[who.Username]) {
				last[who.Username] = e.StageTimestamp
			}
		}
	}
	await(t, "requests of every node's at "+id, func() bool { read(); return len(last) == 3 })

	drained := time.Now()
	first.must("drain", "lab", id)
	for _, n := range m.nodes {
		n.awaitDecided(decided{drained: []string{id}}, holdsWithin-time.Since(drained))
	}
	t.Logf("drained on node-1: in the status of all nodes after %v", time.Since(drained).Round(time.Millisecond))

	namespace := second.byToken(loads[1]).namespace()
	theirs := []*streams{
		openStreams(t, second.byToken(alice), "alice", namespace, pod),
		openStreams(t, third.byToken(alice), "alice", namespace, pod),
	}
	others := third.byToken(loads[2]).startKubectl("get", "configmaps", "-w", "-n", namespace)

	cause := time.Now()
	first.must("revoke", "alice", "--reason=laptop stolen")
	for i, s := range theirs {
		s.watch.endsWithin(t, fmt.Sprintf("alice's watch on node-%d", 2+i), cause)
		s.shell.endsWithin(t, fmt.Sprintf("alice's exec on node-%d", 2+i), cause)
	}
	holds := decided{drained: []string{id}, revoked: []string{"alice"}}
	check(t, cluster.Create(t.Context(), "/api/v1/namespaces/"+namespace+"/configmaps", map[string]any{"metadata": map[string]any{"name": "others"}}))
	others.expect(t, "others")
	for _, n := range m.nodes {
		n.awaitDecided(holds, 0)
		n.refuses(alice)
	}

	// The load has gone on: after a second, nothing of it goes there.
	pause := time.NewTimer(2*holdsWithin - time.Since(drained))
	<-pause.C
	read()
	for who, at := range last {
		t.Logf("the last request of %s's at the drained server ended %v after the drain", who, at.Sub(drained).Round(time.Millisecond))
		if at.After(drained.Add(holdsWithin)) {
			t.Errorf("%s uses the drained server %v after the drain, want %v at most", who, at.Sub(drained), holdsWithin)
		}
	}
	running.check(t, false)

	m.restartEach(holds, alice)
	m.restartAll(holds, alice)
	m.takeBackWhileAway(id, alice)
	m.revokeForAWhile(alice)
	m.revokeWhileAway(alice)
}

// restartEach restarts one node after the other.
func (m *mesh) restartEach(holds decided, alice *person) {
	m.t.Helper()
	for _, n := range m.nodes {
		n.end(syscall.SIGTERM)
		n.launch(m.t)
		n.refuses(alice)
		n.awaitDecided(holds, 0)
		n.awaitAllReady(n.setup.upstreams, 30*time.Second)
	}
	m.awaitWhole(20 * time.Second)
	for _, n := range m.nodes {
		n.awaitDecided(holds, 0)
	}
}

// restartAll has no node left before it starts the first again: what was
// decided is in the state files alone.
func (m *mesh) restartAll(holds decided, alice *person) {
	m.t.Helper()
	for i, n := range m.nodes {
		n.end([]syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL}[i])
	}
	for _, n := range m.nodes {
		n.launch(m.t)
		n.refuses(alice)
		n.awaitDecided(holds, 0)
	}
	m.awaitWhole(20 * time.Second)
	for _, n := range m.nodes {
		n.awaitDecided(holds, 0)
	}
}

// takeBackWhileAway takes everything back while the second node is away, whose
// state file says otherwise. When that returns, nobody is there but the first
// node, which has started anew and knows it by what the third once told.
func (m *mesh) takeBackWhileAway(id string, alice *person) {
	m.t.Helper()
	first, second, third := m.nodes[0], m.nodes[1], m.nodes[2]
	second.end(syscall.SIGTERM)
	cause := time.Now()
	third.must("undrain", "lab", id)
	third.must("revoke", "alice", "--lift")
	first.awaitDecided(decided{}, holdsWithin)
	m.t.Logf("taken back on node-3: on node-1 after %v", time.Since(cause).Round(time.Millisecond))
	third.end(syscall.SIGTERM)
	first.end(syscall.SIGKILL)
	first.launch(m.t)
	first.awaitDecided(decided{}, 0)
	begun := time.Now()
	second.launch(m.t)
	second.awaitDecided(decided{}, 10*time.Second)
	m.t.Logf("and on node-2, which was away, %v after its start", time.Since(begun).Round(time.Millisecond))
	third.launch(m.t)
	m.awaitWhole(20 * time.Second)
	for _, n := range m.nodes {
		n.awaitAllReady(n.setup.upstreams, 30*time.Second)
		n.awaitDecided(decided{}, 0)
		n.allows(alice)
	}
}

// revokeForAWhile has a revocation end by itself on all nodes.
func (m *mesh) revokeForAWhile(alice *person) {
	m.t.Helper()
	const length = 2 * time.Second
	cause := time.Now()
	m.nodes[1].must("revoke", "alice", "--for="+length.String())
	for _, n := range m.nodes {
		n.awaitDecided(decided{revoked: []string{"alice"}}, holdsWithin)
		n.refuses(alice)
	}
	if took := time.Since(cause); took > length {
		m.t.Fatalf("this took %v, and the revocation is over", took)
	}
	for _, n := range m.nodes {
		n.awaitDecided(decided{}, length+holdsWithin)
		n.allows(alice)
	}
	took := time.Since(cause)
	m.t.Logf("a revocation for %v was over on all nodes after %v", length, took.Round(time.Millisecond))
	if took < length {
		m.t.Errorf("it was over after %v", took)
	}
}

// revokeWhileAway decides something while the third node is away.
func (m *mesh) revokeWhileAway(alice *person) {
	m.t.Helper()
	first, second, third := m.nodes[0], m.nodes[1], m.nodes[2]
	third.end(syscall.SIGKILL)
	second.must("revoke", "alice")
	revoked := decided{revoked: []string{"alice"}}
	first.awaitDecided(revoked, holdsWithin)
	begun := time.Now()
	third.launch(m.t)
	third.awaitDecided(revoked, 10*time.Second)
	m.t.Logf("a revocation on node-3, which was away, %v after its start", time.Since(begun).Round(time.Millisecond))
	third.refuses(alice)
}

// code is how the node answers a person who asks for something harmless.
func (n *meshNode) code(p *person) int {
	n.mesh.t.Helper()
	code, _, _, err := n.byToken(p).request(http.MethodGet, "/api/v1/namespaces/default/pods", "")
	check(n.mesh.t, err)
	return code
}

func (n *meshNode) refuses(p *person) {
	n.mesh.t.Helper()
	if code := n.code(p); code != http.StatusUnauthorized {
		n.mesh.t.Errorf("%s answers %s with HTTP %d, want 401", nodeName(n.index), p.name, code)
	}
}

func (n *meshNode) allows(p *person) {
	n.mesh.t.Helper()
	if code := n.code(p); code != http.StatusOK {
		n.mesh.t.Errorf("%s answers %s with HTTP %d, want 200", nodeName(n.index), p.name, code)
	}
}

// await polls until ok.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("no %s within 20 s", what)
		}
	}
}
