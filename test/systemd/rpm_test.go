package systemd

import (
	"strings"
	"testing"
)

// rpm is rpm on a host of Debian, whose database does not know that systemd is
// there.
const rpm = "rpm --force-debian --nodeps "

// TestRPM is the life of the .rpm on one host: its scriptlets, run by rpm, with
// systemd. The service is the same as in TestOneHost.
func TestRPM(t *testing.T) {
	h := boot(t, 1)
	h.carry(t)
	h.run(rpm + "--install /var/tmp/0.rpm")
	h.run("id kuberelay && rpm --verify --nodeps kuberelay && kubectl-relay --version && test -f /usr/share/man/man1/kuberelay-serve.1.gz")
	if state := h.property("kuberelay", "ActiveState"); state != "inactive" {
		t.Errorf("without a configuration it is %s, want inactive", state)
	}
	h.configure(t)

	l := newLoad(t, h.address)
	l.during(200, 50, func() { h.run(rpm + "--upgrade /var/tmp/1.rpm") })
	l.check(50)
	if v := h.run("curl -s http://127.0.0.1:9801/api/v1/status"); !strings.Contains(v, `"v0.0.2"`) {
		t.Errorf("what runs is not the new version: %.200s", v)
	}
	h.awaitReady()

	var out string
	newLoad(t, h.address).insist(func() {
		out = h.run("echo '# mine' >> /etc/logrotate.d/kuberelay && " + rpm + "--erase kuberelay 2>&1")
	})
	h.nothingRuns()
	h.run("test -f /etc/kuberelay/config.yaml && test -f /etc/kuberelay/secrets/prod.token && test -s /var/log/kuberelay/audit.jsonl && test -f /etc/logrotate.d/kuberelay.rpmsave")
	h.run("! test -e /usr/bin/kuberelay && ! test -e /etc/kuberelay/config.yaml.example && ! systemctl is-active kuberelay.service kuberelay.socket kuberelay-api.socket kuberelay-tls.socket")
	if left := h.run("find /etc/systemd /usr/lib/systemd /usr/share -name '*kuberelay*' -not -path '*.service.d*' -not -path '*.socket.d*'"); left != "" {
		t.Errorf("left over:\n%s\n%s", left, out)
	}
}
