package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mesh are several `kuberelay serve` processes that gossip, in front of all API
// servers. All have the same clients.
type mesh struct {
	t       *testing.T
	network *meshNetwork
	nodes   []*meshNode
	ports   []string // of gossip
	key     string   // the file of the first key

	alice *person   // startPeopled's, like loads
	loads []*person // one for each node
}

// meshNode is one of them.
type meshNode struct {
	*served
	mesh  *mesh
	index int
	keys  []string // files
	label string
}

// meshOptions are what a mesh is made with.
type meshOptions struct {
	healthCheck string // section of the cluster; default none
	clients     []string
	alone       bool // without gossip
}

const meshNodes = 3

// The ports that nodes have in namespaces of their own.
const (
	gossipPort = 7946
	teamPort   = 8443
)

// startMesh starts the nodes and waits until each sees all others.
func startMesh(t *testing.T, network *meshNetwork, o meshOptions) *mesh {
	t.Helper()
	m := &mesh{t: t, network: network}
	if !o.alone {
		m.key = newGossipKey(t)
		for i := range meshNodes {
			m.ports = append(m.ports, network.port(network.gossipHost(i), gossipPort))
		}
	}
	for i := range meshNodes {
		n := m.newNode(i, o)
		n.write(t)
		n.launch(t)
		m.nodes = append(m.nodes, n)
	}
	for _, n := range m.nodes {
		n.awaitAllReady(n.setup.upstreams, 30*time.Second)
	}
	if !o.alone {
		m.awaitWhole(20 * time.Second)
	}
	return m
}

// newNode configures a node. It is not started.
func (m *mesh) newNode(i int, o meshOptions) *meshNode {
	m.t.Helper()
	host := m.network.clientHost(i)
	port := "0"
	if !o.alone { // which keeps the port over restarts
		port = m.network.port(host, teamPort)
	}
	certFile, keyFile, err := cluster.IssueServing("mesh-"+host, host)
	check(m.t, err)
	n := &meshNode{mesh: m, index: i, keys: []string{m.key}}
	n.served = newServed(m.t, setup{
		clients: o.clients,
		listeners: []string{fmt.Sprintf("{name: team, address: %q, mode: shared, cluster: lab, tls: {certFile: %s, keyFile: %s}, identify: [bearer]}",
			net.JoinHostPort(host, port), certFile, keyFile)},
		admin:    net.JoinHostPort(host, "0"),
		launcher: m.network.launcher(i),
	})
	var urls []string
	n.setup.upstreams = m.network.servers
	for _, address := range m.network.servers {
		urls = append(urls, "https://"+address)
	}
	text, err := os.ReadFile(cluster.Kubeconfig())
	check(m.t, err)
	kubeconfig := filepath.Join(n.dir, "kubeconfig")
	there := strings.Replace(string(text), fmt.Sprintf("server: %q", cluster.Servers[0].URL()),
		fmt.Sprintf("server: %q\n    tls-server-name: localhost", urls[0]), 1)
	check(m.t, os.WriteFile(kubeconfig, []byte(there), 0o600))
	n.setup.cluster = fmt.Sprintf("{name: lab, kubeconfig: {path: %s}, servers: [%s], discovery: {mode: none}, balancer: {policy: round-robin}%s}",
		kubeconfig, strings.Join(urls, ", "), o.healthCheck)
	n.describe()
	return n
}

// describe writes the gossip section into the setup, as the node is now.
func (n *meshNode) describe() {
	m := n.mesh
	if m.ports == nil {
		return
	}
	var peers []string
	for i, port := range m.ports {
		peers = append(peers, strconv.Quote(net.JoinHostPort(m.network.gossipHost(i), port)))
	}
	own, label := m.network.gossipHost(n.index), n.label
	port := strconv.Itoa(gossipPort)
	if n.index < len(m.ports) {
		port = m.ports[n.index]
	}
	if label == "" {
		label = "e2e"
	}
	n.setup.gossip = fmt.Sprintf("{bindAddress: %q, nodeName: %s, peers: [%s], secretKeyFiles: [%s], label: %s}",
		net.JoinHostPort(own, port), nodeName(n.index), strings.Join(peers, ", "), strings.Join(n.keys, ", "), label)
}

func nodeName(i int) string { return "node-" + strconv.Itoa(1+i) }

// newGossipKey is the file of a new key.
func newGossipKey(t *testing.T) string {
	t.Helper()
	f, err := os.CreateTemp(cacheDir, "gossip-*.key")
	check(t, err)
	defer f.Close()
	key := runKuberelay(t, "gossip-key")
	if key.code != 0 {
		t.Fatalf("kuberelay gossip-key: %+v", key)
	}
	_, err = f.WriteString(key.stdout)
	check(t, err)
	return f.Name()
}

// useKeys writes other key files into the node's configuration.
func (n *meshNode) useKeys(files ...string) {
	n.keys = files
	n.describe()
	n.write(n.mesh.t)
}

// meshPeer is part of what a node's status says of a node.
type meshPeer struct {
	Name, State, UDP string
	Self             bool
	KeyIDs           []string
	Observations     []struct{ Upstream, State string }
}

// meshStatus is part of a node's status.
type meshStatus struct {
	Peers []meshPeer
	daemonStatus
}

// look is the node's status of now. That there is none is an error for who
// waits.
func (n *meshNode) look() (s meshStatus, err error) {
	resp, err := http.Get(n.Admin + "/api/v1/status")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// peers are the states of the other nodes, by name.
func (s meshStatus) peers() map[string]string {
	states := make(map[string]string)
	for _, p := range s.Peers {
		if !p.Self {
			states[p.Name] = p.State
		}
	}
	return states
}

// revoked are the clients of which the status says so.
func (s meshStatus) revoked() (clients []string) {
	for _, c := range s.Clients {
		if c.Revoked {
			clients = append(clients, c.Name)
		}
	}
	slices.Sort(clients)
	return clients
}

// awaitStatus polls the node until ok, and returns how long that took.
func (n *meshNode) awaitStatus(what string, within time.Duration, ok func(meshStatus) bool) time.Duration {
	n.mesh.t.Helper()
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := n.look()
		if err == nil && ok(s) {
			return time.Since(start)
		}
		if time.Since(start) > within {
			n.mesh.t.Fatalf("%s: %s: not within %v; status %+v, %v", nodeName(n.index), what, within, s, err)
		}
		<-tick.C
	}
}

// awaitPeers waits until the node sees the others in these states.
func (n *meshNode) awaitPeers(want map[string]string, within time.Duration) time.Duration {
	n.mesh.t.Helper()
	return n.awaitStatus(fmt.Sprintf("peers %v", want), within, func(s meshStatus) bool { return maps.Equal(s.peers(), want) })
}

// awaitWhole waits until each node sees all others alive.
func (m *mesh) awaitWhole(within time.Duration) time.Duration {
	m.t.Helper()
	start := time.Now()
	for _, n := range m.nodes {
		want := make(map[string]string)
		for i := range m.nodes {
			if i != n.index {
				want[nodeName(i)] = "alive"
			}
		}
		n.awaitPeers(want, within-time.Since(start))
	}
	return time.Since(start)
}

// decided is what operators decided, of all.
type decided struct {
	drained []string // upstreams
	revoked []string // clients
}

func (n *meshNode) awaitDecided(want decided, within time.Duration) time.Duration {
	n.mesh.t.Helper()
	return n.awaitStatus(fmt.Sprintf("%+v", want), within, func(s meshStatus) bool {
		return slices.Equal(s.draining(), want.drained) && slices.Equal(s.revoked(), want.revoked)
	})
}

// count is the value of a metric, the sum of its series whose labels have the
// text.
func (n *meshNode) count(metric, labels string) (sum float64) {
	n.mesh.t.Helper()
	_, series, err := n.metrics(metric)
	check(n.mesh.t, err)
	for name, value := range series {
		if strings.Contains(name, labels) {
			v, err := strconv.ParseFloat(value, 64)
			check(n.mesh.t, err)
			sum += v
		}
	}
	return sum
}

// end ends the node and returns when its process is gone.
func (n *meshNode) end(with syscall.Signal) {
	n.mesh.t.Helper()
	check(n.mesh.t, n.cmd.Process.Signal(with))
	err := <-n.ended
	if with == syscall.SIGTERM && err != nil {
		n.mesh.t.Errorf("%s: SIGTERM: %v", nodeName(n.index), err)
	}
	n.ended <- nil // for the cleanup
}

// meshRate is the load of each node in requests a second.
const meshRate = 20

// meshLoad is a load at some nodes, each with a client of its own.
type meshLoad struct {
	loads []*load
	wait  func()
}

// startLoad puts a load on nodes until the returned load is stopped. The i-th
// client is the i-th node's.
func (m *mesh) startLoad(clients []*person, nodes ...*meshNode) *meshLoad {
	m.t.Helper()
	l := &meshLoad{}
	namespace := nodes[0].byToken(clients[nodes[0].index]).namespace()
	stop := make(chan struct{})
	var waits []func()
	for _, n := range nodes {
		p := clients[n.index]
		one := &load{relay: n.byToken(p), namespace: namespace, run: fmt.Sprintf("%s-%d", p.name, time.Now().UnixNano())}
		l.loads = append(l.loads, one)
		waits = append(waits, one.startUntil(meshRate, stop))
	}
	l.wait = sync.OnceFunc(func() {
		close(stop)
		for _, wait := range waits {
			wait()
		}
	})
	m.t.Cleanup(l.wait)
	for _, one := range l.loads {
		one.awaitRequests(meshRate / 2)
	}
	return l
}

// check ends the load and fails the test for every request that did not
// succeed. Creates may be reported as lost where a server was killed.
func (l *meshLoad) check(t *testing.T, serverKilled bool) {
	t.Helper()
	l.wait()
	for _, one := range l.loads {
		one.checkReads(t)
		if lost := one.checkCreates(t); lost > 0 && !serverKilled {
			t.Errorf("%d creates are reported as lost, and no server was", lost)
		}
	}
}

// startPeopled starts a mesh with the clients of meshPeople.
func startPeopled(t *testing.T, network *meshNetwork) *mesh {
	t.Helper()
	alice, loads, clients := meshPeople(t)
	m := startMesh(t, network, meshOptions{clients: clients})
	m.alice, m.loads = alice, loads
	return m
}

// startCuttable is startPeopled with a network whose links can be cut. Where
// there can be none, it skips the test.
func startCuttable(t *testing.T) *mesh {
	t.Helper()
	network := newMeshNetwork(t, meshNodes)
	if network.name == "" {
		t.Skip("no network namespaces: no link can be cut")
	}
	return startPeopled(t, network)
}

// meshPeople are alice, who may do little, and a client for the load of each
// node, with their entries in the configuration.
func meshPeople(t *testing.T) (alice *person, loads []*person, clients []string) {
	t.Helper()
	names := []string{"alice"}
	for i := range meshNodes {
		names = append(names, "load-"+strconv.Itoa(1+i))
	}
	all := people(t, names...)
	clients = append(clients, all[0].client("shell"))
	for _, p := range all[1:] {
		p.group = "ops"
		clients = append(clients, p.client("all"))
	}
	return all[0], all[1:], clients
}
