package systemd

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Three bastions that gossip, with an address that floats between them. Each step
// begins where the one before it ended.
func TestThreeHosts(t *testing.T) {
	var hosts []*host
	var key string // as docs/gossip.md has it: made once, the same on every host
	for i := 1; i <= 3; i++ {
		h := boot(t, i)
		h.install(t)
		if key == "" {
			key = h.run("kuberelay gossip-key")
		}
		h.configure(t, h.gossip(key))
		hosts = append(hosts, h)
	}
	step := func(name string, f func(*testing.T, []*host)) bool {
		return t.Run(name, func(t *testing.T) {
			for _, h := range hosts {
				defer func(whole *testing.T) { h.t = whole }(h.t)
				h.t = t
			}
			f(t, hosts)
		})
	}
	if !step("kubectl works through each", func(t *testing.T, hosts []*host) {
		for _, h := range hosts {
			h.answersKubectl(h.address)
		}
	}) || !step("the three see each other", seeEachOther) {
		return
	}
	step("a drain on one holds on all within a second", drainHolds)
	step("a revocation on one holds on all within a second", revocationHolds)
	step("one that is shut down has left, and comes back to what was decided meanwhile", shutDownAndBack)
	step("the floating address leaves a host whose service is stopped, and one that is not ready", floats)
	step("one that loses its power is dead, and kubectl goes on through the floating address", powerLost)
	step("with its power back, it joins by itself", powerBack)
}

// answersKubectl holds kubectl to an answer through an address.
func (h *host) answersKubectl(address string) {
	h.t.Helper()
	if out, err := h.namespaces(address); err != nil {
		h.t.Errorf("kubectl through %s: %v\n%s", address, err, out)
	}
}

func (h *host) namespaces(address string) (string, error) {
	h.t.Helper()
	cmd, out := h.kubectl(address, "get", "namespaces", "--output=name", "--request-timeout=2s")
	err := cmd.Run()
	if err == nil && !strings.Contains(out.String(), "namespace/default") {
		err = fmt.Errorf("the namespace default is not there")
	}
	return out.String(), err
}

// floats takes kuberelay from the host that has the address, and leaves the host
// itself and its keepalived as they are.
func floats(t *testing.T, hosts []*host) {
	first, second := hosts[0], hosts[1]
	for _, h := range hosts {
		h.float(t, hosts)
	}
	first.await("host 1 to have the floating address", 30*time.Second, first.misses)
	const units = " kuberelay.socket kuberelay-api.socket kuberelay-tls.socket kuberelay.service"
	for _, fault := range []struct{ name, begin, end string }{
		{"its service is stopped", "systemctl stop" + units, "systemctl start" + units},
		{"/readyz is 503", "ip route add prohibit " + outside, "ip route del prohibit " + outside},
	} {
		began := time.Now()
		first.run(fault.begin)
		second.await("the floating address, when "+fault.name, 30*time.Second, second.misses)
		t.Logf("%s: host 2 has the address after %v", fault.name, time.Since(began).Round(100*time.Millisecond))
		second.answersKubectl(floating)
		first.run(fault.end)
		first.await("host 1 to have the address back", 30*time.Second, first.misses)
		first.answersKubectl(floating)
	}
	awaitPeers(t, hosts)
}

func powerLost(t *testing.T, hosts []*host) {
	first, rest := hosts[0], hosts[1:]
	l := newLoad(t, floating)
	if err := l.once(); err != nil {
		t.Fatalf("through the floating address: %v", err)
	}
	first.answersKubectl(floating)

	// Pulled out, rather than shut down: nobody says goodbye.
	began, failed := time.Now(), 0
	first.pull()
	rest[0].await("clients of the floating address to go on", 30*time.Second, func() string {
		if err := l.once(); err != nil {
			failed++
			return err.Error()
		}
		return ""
	})
	t.Logf("host 1 was lost; the floating address answers again after %v, %d requests failed", time.Since(began).Round(100*time.Millisecond), failed)
	calls := 0
	rest[0].await("host 1 to be dead", time.Minute, func() string {
		calls++
		rest[0].answersKubectl(floating) // whatever gossip thinks
		return differs(rest, map[string]string{first.name: "dead"})
	})
	for _, h := range rest {
		at := h.happened("peer", first.name, "")
		t.Logf("host %d knew after %v", h.index, at.Sub(began).Round(100*time.Millisecond))
		if at.Before(began) || at.Sub(began) > deadWithin {
			t.Errorf("host %d took %v to know that host 1 is gone, want %v at most", h.index, at.Sub(began), deadWithin)
		}
		h.awaitStatusLine("3/3 API servers ready, 1/2 peers")
	}
	t.Logf("kubectl was called %d times through the floating address meanwhile", calls)
	if why := rest[0].misses(); why != "" {
		t.Errorf("the address is not where it should be: %s", why)
	}
	rest[0].run("kuberelay drain prod " + server(2))
	holdsWithinASecond(t, rest, "drain", server(2), "drained")
}

func powerBack(t *testing.T, hosts []*host) {
	first := hosts[0]
	first.powerOn()
	first.awaitReady()
	began := time.Now()
	awaitPeers(t, hosts)
	t.Logf("all see each other %v after host 1 was ready", time.Since(began).Round(100*time.Millisecond))
	awaitDecided(t, hosts, []string{server(2)}, nil)
	for _, h := range hosts {
		h.answersKubectl(h.address)
	}
	first.answersKubectl(floating)
}

// float configures the example of keepalived.
func (h *host) float(t *testing.T, all []*host) {
	t.Helper()
	root, err := repository()
	must(t, err)
	example, err := os.ReadFile(filepath.Join(root, "deploy/keepalived/keepalived.conf"))
	must(t, err)
	var others []string
	for _, o := range all {
		if o != h {
			others = append(others, o.address)
		}
	}
	changes := [][2]string{
		{"interface eth0 ", "interface host0 "}, {"priority 100 ", fmt.Sprintf("priority %d ", 110-10*h.index)}, {"unicast_src_ip 10.1.0.1 ", "unicast_src_ip " + h.address + " "},
		{"10.1.0.2\n", others[0] + "\n"}, {"10.1.0.3\n", others[1] + "\n"}, {"10.1.0.10/24", floating + "/24"},
	}
	config := string(example)
	for _, c := range changes {
		if strings.Count(config, c[0]) != 1 {
			t.Fatalf("the example of keepalived has %q %d times, want once", c[0], strings.Count(config, c[0]))
		}
		config = strings.Replace(config, c[0], c[1], 1)
	}
	h.write("/etc/keepalived/keepalived.conf", config, 0o644, "root:")
	h.run("install /usr/share/doc/kuberelay/examples/check-kuberelay /usr/local/bin/ && systemctl restart keepalived")
}

// misses says why the host does not have the floating address; empty if it has.
func (h *host) misses() string {
	out, err := h.try("ip -brief address show dev host0")
	if err != nil || !strings.Contains(out, floating+"/") {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return ""
}

// once reads once, on a new connection.
func (l *load) once() error {
	response, err := l.get(l.t.Context(), l.quick(), "/version")
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}

// quick is a client that does not wait for a host that is gone.
func (l *load) quick() *http.Client {
	return &http.Client{Transport: l.new.Transport, Timeout: time.Second}
}
