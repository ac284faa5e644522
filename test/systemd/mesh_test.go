package systemd

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What docs/gossip.md promises: how soon a decision holds everywhere, and how
// soon a host that is lost is known to be, with a margin for two busy cores.
const (
	holdsWithin = time.Second
	deadWithin  = 10 * time.Second
)

// gossip writes the key and returns the section. Each host looks for others in
// another of the ways that there are: within the unit's sandbox, all have to work.
func (h *host) gossip(key string) string {
	h.t.Helper()
	h.write("/etc/kuberelay/gossip.key", key+"\n", 0o600, "kuberelay:")
	peers := map[int]string{
		1: address(2) + ":7946, " + address(3),
		2: "bastion-1.example.org, bastion-3.example.org:7946",
		3: `"exec:/usr/bin/cat /etc/kuberelay/bastions"`,
	}[h.index]
	h.run("echo '" + address(1) + " bastion-1.example.org' >> /etc/hosts; echo '" + address(3) + " bastion-3.example.org' >> /etc/hosts; " +
		"printf '%s\\n' " + address(1) + " " + address(2) + " > /etc/kuberelay/bastions")
	return "gossip:\n  bindAddress: " + h.address + ":7946\n  peers: [" + peers + "]\n" +
		"  secretKeyFiles: [/etc/kuberelay/gossip.key]\n  allowedCIDRs: [192.0.2.0/24]\n"
}

func seeEachOther(t *testing.T, hosts []*host) {
	awaitPeers(t, hosts)
	for _, h := range hosts {
		t.Log(h.run("kuberelay status | grep -A3 ^PEER; systemctl --no-pager status kuberelay 2>/dev/null | grep Status:"))
		// By connections they have joined; packets go both ways; nothing else
		// than these two listens.
		if sockets := h.run("ss -Hlntu 'sport = :7946' | awk '{print $1, $5}' | sort"); sockets != "tcp "+h.address+":7946\nudp "+h.address+":7946" {
			t.Errorf("host %d listens on:\n%s", h.index, sockets)
		}
		if denied, _ := h.try("journalctl --no-pager --output=cat --unit=kuberelay | grep -E 'not permitted|not supported by protocol|permission denied'"); denied != "" {
			t.Errorf("host %d: the sandbox is in the way:\n%s", h.index, denied)
		}
		if filter := h.run("grep ^Seccomp: /proc/$(systemctl show --value --property=MainPID kuberelay)/status"); strings.Fields(filter)[1] != "2" {
			t.Errorf("host %d: the sandbox is not in force: %s", h.index, filter)
		}
		// With the other hosts' packets and connections, as an operator sees it.
		if found := h.run("runuser -u kuberelay -- kuberelay doctor | grep gossip"); strings.Count(found, "alive") != 2 {
			t.Errorf("host %d: kuberelay doctor says of its peers:\n%s", h.index, found)
		}
	}
}

// attempts counts what a host has sent to an API server so far.
func (h *host) attempts(server string) (n int) {
	h.t.Helper()
	for line := range strings.Lines(h.run("curl -s http://127.0.0.1:9801/metrics")) {
		if strings.HasPrefix(line, "kuberelay_upstream_requests_total{") && strings.Contains(line, `upstream="`+server+`"`) {
			fields := strings.Fields(line)
			value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			must(h.t, err)
			n += int(value)
		}
	}
	return n
}

// reads sends a hundred reads through a host, and returns the API server that
// most of them went to, with how many that were.
func (h *host) reads(t *testing.T) (most string, n int, sent map[string]int) {
	t.Helper()
	before := make(map[string]int)
	for i := range cluster.Servers {
		before[server(i)] = h.attempts(server(i))
	}
	l := newLoad(t, h.address)
	for range 100 {
		l.read(l.kept, "/api/v1/namespaces/default")
	}
	if len(l.failed) > 0 {
		t.Errorf("host %d: %d of 100 reads failed: %s", h.index, len(l.failed), l.failed[0])
	}
	sent = make(map[string]int)
	for i := range cluster.Servers {
		sent[server(i)] = h.attempts(server(i)) - before[server(i)]
		if sent[server(i)] > n {
			most, n = server(i), sent[server(i)]
		}
	}
	return most, n, sent
}

// ending is how a watch ended, and when.
type ending struct {
	at  time.Time
	err error // nil: as HTTP ends
}

func (h *host) watch(t *testing.T) <-chan ending {
	t.Helper()
	l := newLoad(t, h.address)
	watch, err := l.get(t.Context(), l.new, "/api/v1/namespaces/default/configmaps?watch=true")
	must(t, err)
	if watch.StatusCode != http.StatusOK {
		t.Fatalf("a watch through host %d: %s", h.index, watch.Status)
	}
	ended := make(chan ending, 1)
	go func() {
		_, err := io.Copy(io.Discard, watch.Body)
		ended <- ending{time.Now(), err}
		watch.Body.Close()
	}()
	return ended
}

// endsInTime waits for a watch that a decision ends.
func (h *host) endsInTime(t *testing.T, watch <-chan ending, decidedAt time.Time) (how error) {
	t.Helper()
	select {
	case e := <-watch:
		took := e.at.Sub(decidedAt)
		t.Logf("the watch through host %d ended %v after the decision", h.index, took.Round(time.Millisecond))
		if took > holdsWithin || took < 0 {
			t.Errorf("the watch through host %d ended %v after the decision, want %v at most", h.index, took, holdsWithin)
		}
		return e.err
	case <-time.After(10 * time.Second):
		t.Errorf("the watch through host %d goes on", h.index)
		return nil
	}
}

// drainHolds drains on host 1 what host 2 uses.
func drainHolds(t *testing.T, hosts []*host) {
	first, second := hosts[0], hosts[1]
	victim, n, _ := second.reads(t)
	if n < 90 {
		t.Fatalf("of 100 reads of one client %d went to one server, want nearly all", n)
	}
	watch := second.watch(t)
	t.Log(first.run("kuberelay drain prod " + victim))
	at := holdsWithinASecond(t, hosts, "drain", victim, "drained")
	if err := second.endsInTime(t, watch, at); err != nil {
		t.Errorf("the watch did not end cleanly: %v", err)
	}
	awaitDecided(t, hosts, []string{victim}, nil)
	for _, h := range hosts {
		if _, _, sent := h.reads(t); sent[victim] != 0 {
			t.Errorf("host %d has sent %d of 100 requests to the drained server", h.index, sent[victim])
		}
	}
	first.run("kuberelay undrain prod " + victim)
	holdsWithinASecond(t, hosts, "drain", victim, "back in use")
	awaitDecided(t, hosts, nil, nil)
}

// revocationHolds revokes on host 2.
func revocationHolds(t *testing.T, hosts []*host) {
	order := []*host{hosts[1], hosts[0], hosts[2]}
	watches := make(map[*host]<-chan ending)
	for _, h := range order {
		watches[h] = h.watch(t)
	}
	t.Log(order[0].run("kuberelay revoke load --reason='laptop stolen'"))
	at := holdsWithinASecond(t, order, "revoke", "load", "revoked")
	for _, h := range order {
		_ = h.endsInTime(t, watches[h], at) // cut, or in order: it ends
		if out, err := h.namespaces(h.address); err == nil {
			t.Errorf("kubectl of a revoked client, through host %d: %s", h.index, out)
		}
		if got := h.run("runuser -u alice -- curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8001/api/v1/namespaces/default"); got != "200" {
			t.Errorf("another client, on host %d: HTTP %s, want 200", h.index, got)
		}
	}
	awaitDecided(t, hosts, nil, []string{"load"})
}

// shutDownAndBack has the third host away while the others decide otherwise
// than what its state file says.
func shutDownAndBack(t *testing.T, hosts []*host) {
	rest, third := hosts[:2], hosts[2]
	rest[0].run("kuberelay drain prod " + server(1))
	awaitDecided(t, hosts, []string{server(1)}, []string{"load"})
	began := time.Now()
	third.powerOff()
	t.Logf("host 3 was off after %v", time.Since(began).Round(100*time.Millisecond))
	rest[0].await("host 3 to have left", 15*time.Second, func() string {
		return differs(rest, map[string]string{third.name: "left"})
	})
	for _, h := range rest {
		t.Logf("host %d knew %v after the shutdown began", h.index, h.happened("peer", third.name, "left").Sub(began).Round(100*time.Millisecond))
		h.awaitStatusLine("3/3 API servers ready, 1/2 peers")
	}
	rest[0].run("kuberelay undrain prod " + server(1) + " && kuberelay drain prod " + server(0))
	rest[1].run("kuberelay revoke load --lift && kuberelay revoke alice --for=1h")
	awaitDecided(t, rest, []string{server(0)}, []string{"alice"})

	third.powerOn()
	third.awaitReady()
	began = time.Now()
	awaitPeers(t, hosts)
	t.Logf("all see each other %v after host 3 was ready", time.Since(began).Round(100*time.Millisecond))
	awaitDecided(t, hosts, []string{server(0)}, []string{"alice"})
	third.answersKubectl(third.address)

	third.run(fmt.Sprintf("kuberelay undrain prod %s && kuberelay revoke alice --lift", server(0)))
	awaitDecided(t, hosts, nil, nil)
}
