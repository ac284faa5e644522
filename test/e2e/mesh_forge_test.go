package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// forgeVariable makes this program send, to the addresses that it lists, what no
// peer sends, and say what it has sent.
const forgeVariable = "KUBERELAY_E2E_FORGE"

// forged is what was sent, by its kind.
type forged map[string]int

// forge records the packets that come to this host's port of gossip for a
// while, and then sends, until stdin ends: these again, some cut off, some with
// a bit changed, and what was never a packet, by UDP and by TCP.
func forge(addresses []string, stdin io.Reader, stdout io.Writer) error {
	recorded := recordPackets(gossipPort, 3*time.Second)
	sent := forged{"recorded": len(recorded)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, stdin)
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ended:
			return json.NewEncoder(stdout).Encode(sent)
		case <-tick.C:
		}
		kind, packet := forgery(i, recorded)
		to := addresses[i/7%len(addresses)]
		if err := sendRaw("udp", to, packet); err == nil {
			sent[kind]++
		}
		if i%50 == 0 {
			if err := sendRaw("tcp", to, packet); err == nil {
				sent["by TCP"]++
			}
		}
	}
}

// forgery is the i-th of what no peer sends.
func forgery(i int, recorded [][]byte) (kind string, packet []byte) {
	noise := make([]byte, 1+rand.IntN(1400))
	for j := range noise {
		noise[j] = byte(rand.IntN(256))
	}
	label := append([]byte{244, 3}, "e2e"...) // as memberlist begins a packet
	if len(recorded) > 0 {
		packet = slices.Clone(recorded[rand.IntN(len(recorded))])
	}
	switch i % 7 {
	case 0:
		return "garbage", noise
	case 1:
		return "labelled garbage", append(label, noise...)
	case 2:
		return "oversize", append(label, make([]byte, 8000)...)
	case 3:
		return "in the clear", append(label, 8, 1, 2, 3) // a user's message to memberlist
	}
	if packet == nil {
		return "garbage", noise
	}
	switch i % 7 {
	case 4:
		return "replayed", packet
	case 5:
		return "truncated", packet[:rand.IntN(len(packet))]
	default:
		packet[rand.IntN(len(packet))] ^= 1 << rand.IntN(8)
		return "changed", packet
	}
}

func sendRaw(network, to string, raw []byte) error {
	conn, err := net.DialTimeout(network, to, 200*time.Millisecond)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write(raw)
	return err
}

// forge sends forgeries from the first node's address to all nodes. The
// returned function ends that, and returns what was sent.
func (m *mesh) forge() (end func() forged) {
	m.t.Helper()
	var addresses []string
	for i, port := range m.ports {
		addresses = append(addresses, net.JoinHostPort(m.network.gossipHost(i), port))
	}
	self, err := os.Executable()
	check(m.t, err)
	args := append(m.network.launcher(0), self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), forgeVariable+"="+strings.Join(addresses, ","))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	check(m.t, err)
	stdout, err := cmd.StdoutPipe()
	check(m.t, err)
	check(m.t, cmd.Start())
	ended := false
	end = func() (sent forged) {
		if ended {
			return nil
		}
		ended = true
		_ = stdin.Close() // Its error is that the process is gone, which Wait says.
		err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&sent)
		if waitErr := cmd.Wait(); err != nil || waitErr != nil {
			m.t.Errorf("forging: %v, %v", err, waitErr)
		}
		return sent
	}
	m.t.Cleanup(func() { end() })
	return end
}

// forgeriesAreIgnored sends forgeries for a while. Nobody joins, nobody is lost,
// and all is counted.
func (m *mesh) forgeriesAreIgnored() {
	m.t.Helper()
	before := make(map[*meshNode]float64)
	for _, n := range m.nodes {
		before[n] = n.count("kuberelay_gossip_ignored_total", "")
	}
	end := m.forge()
	held := time.NewTimer(8 * time.Second)
	<-held.C
	m.awaitWhole(0)
	sent := end()
	m.t.Logf("forged: %v", sent)
	kinds := []string{"garbage", "labelled garbage", "oversize", "in the clear", "by TCP"}
	if m.network.name != "" {
		kinds = append(kinds, "recorded", "replayed", "truncated", "changed")
	}
	for _, kind := range kinds {
		if sent[kind] == 0 {
			m.t.Errorf("nothing %s was sent", kind)
		}
	}
	for _, n := range m.nodes {
		var counted []string
		for _, reason := range []string{"key", "label", "oversize", "malformed", "plaintext"} {
			counted = append(counted, fmt.Sprintf("%s %v", reason, n.count("kuberelay_gossip_ignored_total", `reason="`+reason+`"`)))
		}
		m.t.Logf("%s has ignored: %s", nodeName(n.index), strings.Join(counted, ", "))
		if more := n.count("kuberelay_gossip_ignored_total", "") - before[n]; more < 100 {
			m.t.Errorf("%s has counted %v of them", nodeName(n.index), more)
		}
		if joined := n.count("kuberelay_gossip_peer_events_total", `event="joined"`); int(joined) != len(m.nodes)-1 {
			m.t.Errorf("%v peers have joined %s, want the two others", joined, nodeName(n.index))
		}
		if failed := n.count("kuberelay_gossip_peer_events_total", `event="failed"`); failed != 0 {
			m.t.Errorf("%s has taken peers for dead %v times", nodeName(n.index), failed)
		}
		n.awaitDecided(decided{}, 0)
	}
}

func TestForgeries(t *testing.T) {
	kinds := make(map[string]bool)
	for i := range 14 {
		kind, packet := forgery(i, [][]byte{{1, 2, 3, 4}})
		if kinds[kind] = true; kind == "replayed" && len(packet) != 4 || kind == "truncated" && len(packet) > 3 {
			t.Errorf("%s: %v", kind, packet)
		}
	}
	if len(kinds) != 7 {
		t.Errorf("the kinds are %v", kinds)
	}
}
