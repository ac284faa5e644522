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

// Three bastions, with an address that floats between them.
func TestThreeHosts(t *testing.T) {
	var hosts []*host
	for i := 1; i <= 3; i++ {
		h := boot(t, i)
		h.install(t)
		h.configure(t)
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		cmd, out := h.kubectl(h.address, "get", "namespaces", "--output=name")
		if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "namespace/default") {
			t.Errorf("kubectl through host %d: %v\n%s", h.index, err, out)
		}
	}
	for _, h := range hosts {
		h.float(t, hosts)
	}
	first := hosts[0]
	first.await("host 1 to have the floating address", 30*time.Second, first.misses)

	l := newLoad(t, floating)
	if err := l.once(); err != nil {
		t.Fatalf("through the floating address: %v", err)
	}
	// Pulled out, rather than shut down: nobody says goodbye.
	must(t, command("kill", "-9", first.leader))
	began, failed := time.Now(), 0
	first.await("clients of the floating address to go on", 30*time.Second, func() string {
		if err := l.once(); err != nil {
			failed++
			return err.Error()
		}
		return ""
	})
	t.Logf("host 1 was lost; the floating address answers again after %v, %d requests failed", time.Since(began).Round(100*time.Millisecond), failed)
	if why := hosts[1].misses(); why != "" {
		t.Errorf("the address is not where it should be: %s", why)
	}
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
