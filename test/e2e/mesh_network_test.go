package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// meshNetwork is where the nodes of a mesh are: each in a network namespace of
// its own, with two links, one to its peers and one to the API servers and the
// clients, which are in the namespace of the tests. A further namespace has the
// two bridges, so that this machine's packet filters see nothing of it.
//
// Where the tests may make no namespaces, the nodes are on 127.0.0.1 and so on,
// and no link can be cut.
type meshNetwork struct {
	t       *testing.T
	name    string   // what the names of the namespaces begin with; empty: there are none
	subnet  int      // the third octet of the clients' network
	servers []string // host:port of the API servers there
}

// The nodes' addresses: gossipHost's network (RFC 5737) is nowhere but in
// their namespaces.
func (n *meshNetwork) gossipHost(i int) string {
	if n.name == "" {
		return loopbackHost(i)
	}
	return "192.0.2." + strconv.Itoa(1+i)
}

func (n *meshNetwork) clientHost(i int) string {
	if n.name == "" {
		return loopbackHost(i)
	}
	return fmt.Sprintf("10.77.%d.%d", n.subnet, 1+i)
}

// testsHost is where the nodes reach the API servers, and the tests them.
func (n *meshNetwork) testsHost() string { return fmt.Sprintf("10.77.%d.254", n.subnet) }

func loopbackHost(i int) string { return "127.0.0." + strconv.Itoa(1+i) }

// launcher is the command that runs another one where the i-th node is.
func (n *meshNetwork) launcher(i int) []string {
	if n.name == "" {
		return nil
	}
	return []string{"ip", "netns", "exec", n.namespace(i)}
}

// port is what a node binds: the given one where it has a namespace to itself,
// else one that is free.
func (n *meshNetwork) port(host string, wanted int) string {
	n.t.Helper()
	if n.name != "" {
		return strconv.Itoa(wanted)
	}
	for {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		check(n.t, err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		check(n.t, err)
		c, err := net.ListenPacket("udp", net.JoinHostPort(host, port))
		l.Close()
		if err == nil {
			c.Close()
			return port
		}
	}
}

func (n *meshNetwork) namespace(i int) string { return n.name + "-" + strconv.Itoa(1+i) }
func (n *meshNetwork) bridges() string        { return n.name + "-bridges" }

// newMeshNetwork makes a network for some nodes until the test ends.
func newMeshNetwork(t *testing.T, nodes int) *meshNetwork {
	t.Helper()
	n := &meshNetwork{t: t}
	if err := namespacesWork(); err != nil {
		t.Logf("no network namespaces (%v): the nodes are on 127.0.0.1, 127.0.0.2 and so on, and tests that cut a link are skipped", err)
		n.servers = serverIDs()
		return n
	}
	n.name, n.subnet = nextMeshNetwork()
	t.Cleanup(func() {
		for i := range nodes {
			_ = exec.Command("ip", "netns", "delete", n.namespace(i)).Run() // it may not have come to be
		}
		check(t, ip("netns", "delete", n.bridges()))
	})
	check(t, n.build(nodes))
	for _, s := range cluster.Servers {
		address, closeDoor, err := s.Expose(n.testsHost())
		check(t, err)
		t.Cleanup(closeDoor)
		n.servers = append(n.servers, address)
	}
	return n
}

// build makes the namespaces and links.
func (n *meshNetwork) build(nodes int) error {
	if err := ip("netns", "add", n.bridges()); err != nil {
		return err
	}
	outside := n.name // of the tests' end of the clients' bridge
	host := []string{
		fmt.Sprintf("link add %s type veth peer name outside netns %s", outside, n.bridges()),
		fmt.Sprintf("addr add %s/24 dev %s", n.testsHost(), outside),
		fmt.Sprintf("link set %s up", outside),
	}
	bridges := []string{
		"link add gossip type bridge", "link set gossip up", "link add clients type bridge", "link set clients up",
		"link set outside master clients up",
	}
	for i := range nodes {
		if err := ip("netns", "add", n.namespace(i)); err != nil {
			return err
		}
		bridges = append(
			bridges,
			fmt.Sprintf("link add %s type veth peer name gossip netns %s", gossipLink(i), n.namespace(i)),
			fmt.Sprintf("link set %s master gossip up", gossipLink(i)),
			fmt.Sprintf("link add %s type veth peer name clients netns %s", clientsLink(i), n.namespace(i)),
			fmt.Sprintf("link set %s master clients up", clientsLink(i)),
		)
	}
	if err := errors.Join(ipBatch("", host...), ipBatch(n.bridges(), bridges...)); err != nil {
		return err
	}
	for i := range nodes {
		err := ipBatch(
			n.namespace(i), "link set lo up",
			fmt.Sprintf("addr add %s/24 dev gossip", n.gossipHost(i)), "link set gossip up",
			fmt.Sprintf("addr add %s/24 dev clients", n.clientHost(i)), "link set clients up",
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// gossipLink is the bridge's end of a node's link to its peers.
func gossipLink(i int) string { return "gossip" + strconv.Itoa(i) }

// clientsLink is that of its link to API servers and clients.
func clientsLink(i int) string { return "clients" + strconv.Itoa(i) }

// cut cuts a link: nothing arrives, nothing is refused.
func (n *meshNetwork) cut(link string) {
	n.t.Helper()
	check(n.t, ip("-n", n.bridges(), "link", "set", link, "down"))
}

// mend ends cut.
func (n *meshNetwork) mend(link string) {
	n.t.Helper()
	check(n.t, ip("-n", n.bridges(), "link", "set", link, "up"))
}

// blockUDP drops the packets between two nodes, in both directions, where they
// arrive. Connections pass. Routing rules do it, which need no packet filter:
// they can tell protocols apart (ip-rule(8)), once the rule for local addresses
// is not the first any more.
func (n *meshNetwork) blockUDP(a, b int) {
	n.t.Helper()
	for _, pair := range [][2]int{{a, b}, {b, a}} {
		check(n.t, ipBatch(
			n.namespace(pair[0]), "rule add pref 100 lookup local", "rule del pref 0",
			fmt.Sprintf("rule add pref 10 iif gossip ipproto udp from %s blackhole", n.gossipHost(pair[1])),
		))
	}
}

// unblockUDP ends blockUDP.
func (n *meshNetwork) unblockUDP(nodes ...int) {
	n.t.Helper()
	for _, i := range nodes {
		check(n.t, ip("-n", n.namespace(i), "rule", "del", "pref", "10"))
	}
}

// meshPrefix is what the namespaces' names begin with; then comes the process
// ID of the tests, so that those of killed ones can be told.
const meshPrefix = "krmesh"

// namespacesWork says why there can be no namespaces. The first call removes
// what killed tests left behind.
var namespacesWork = sync.OnceValue(func() error {
	if os.Getuid() != 0 {
		return errors.New("they need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		install := exec.Command("sh", "-c", "apt-get -qq update && apt-get -qq install -y --no-install-recommends iproute2")
		install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("they need ip, of iproute2: %w: %s", err, out)
		}
	}
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if leftover(name) {
			_ = ip("netns", "delete", name) // its links go with it
		}
	}
	name := fmt.Sprintf("%s%d-try", meshPrefix, os.Getpid())
	if err := ip("netns", "add", name); err != nil {
		return err
	}
	return ip("netns", "delete", name)
})

// leftover says whether a namespace is one of tests that run no more.
func leftover(namespace string) bool {
	text, ours := strings.CutPrefix(namespace, meshPrefix)
	pid, _, _ := strings.Cut(text, "-")
	if _, err := strconv.Atoi(pid); err != nil || !ours {
		return false
	}
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return false
	}
	comm, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	return err != nil || string(comm) != string(self)
}

// meshNetworks counts those of this process.
var meshNetworks struct {
	sync.Mutex
	made int
	used map[int]bool
}

// nextMeshNetwork is a name, short enough for that of a link, and a subnet that
// this machine has no address in.
func nextMeshNetwork() (name string, subnet int) {
	meshNetworks.Lock()
	defer meshNetworks.Unlock()
	if meshNetworks.used == nil {
		meshNetworks.used = make(map[int]bool)
	}
	taken := func(subnet int) bool {
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			return false // The links will not be made, which says enough.
		}
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && network.Contains(net.IPv4(10, 77, byte(subnet), 1)) {
				return true
			}
		}
		return false
	}
	for range 1000 {
		if subnet = rand.IntN(256); !meshNetworks.used[subnet] && !taken(subnet) {
			break
		}
	}
	meshNetworks.used[subnet] = true
	meshNetworks.made++
	return fmt.Sprintf("%s%d-%d", meshPrefix, os.Getpid(), meshNetworks.made%10), subnet
}

// ip runs the command of that name.
func ip(args ...string) error { return runIP("", args...) }

// ipBatch runs several lines of ip's in a namespace, or in that of the tests.
func ipBatch(namespace string, lines ...string) error {
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-n", namespace}, args...)
	}
	return runIP(strings.Join(lines, "\n"), args...)
}

func runIP(stdin string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)+stdin))
	}
	return nil
}
