package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestMeshRumour kills an API server that only the first node uses, and the
// others hardly ever probe. With gossip, they have it DOWN within a second; the
// nodes beside them, without, find out by themselves.
func TestMeshRumour(t *testing.T) {
	restored(t)
	network := newMeshNetwork(t, meshNodes)
	_, loads, clients := meshPeople(t)
	o := meshOptions{clients: clients, healthCheck: ", healthCheck: {interval: 20s}"}
	with := startMesh(t, network, o)
	o.alone = true
	without := startMesh(t, network, o)
	var running []*meshLoad
	for _, m := range []*mesh{with, without} {
		running = append(running, m.startLoad(loads, m.nodes[0]))
	}
	victim := cluster.Servers[1]
	id := network.servers[1]
	killed := time.Now()
	check(t, victim.Kill())

	downs := func(m *mesh) (after []time.Duration) {
		t.Helper()
		for _, n := range m.nodes {
			n.awaitState(id, "DOWN", time.Minute)
			all, err := n.upstreams()
			check(t, err)
			after = append(after, all[id].Since.Sub(killed))
		}
		return after
	}
	figures := func(after []time.Duration) string {
		return fmt.Sprintf("DOWN after kill -9 on the first node %v, on the others %v and %v", after[0].Round(time.Millisecond),
			after[1].Round(time.Millisecond), after[2].Round(time.Millisecond))
	}
	// late is how long after the first node the last of the others knew it.
	late := func(after []time.Duration) time.Duration { return max(0, slices.Max(after[1:])-after[0]) }
	told := downs(with)
	t.Log("with gossip: ", figures(told))
	if late(told) > time.Second {
		t.Errorf("the last node has it DOWN %v after the first, want 1 s at most", late(told))
	}
	// Each of the others looks by itself once in 20 s.
	found := downs(without)
	t.Log("without:     ", figures(found))
	if late(found) < 2*late(told) {
		t.Errorf("without gossip the last node has it DOWN %v after the first, with it %v: gossip is of no use", late(found), late(told))
	}
	for _, l := range running {
		l.check(t, true)
	}
}
