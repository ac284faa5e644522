package systemd

import (
	"strings"
	"testing"
	"time"
)

// One host's life, in order: each step begins where the one before it ended.
func TestOneHost(t *testing.T) {
	h := boot(t, 1)
	step := func(name string, f func(*testing.T, *host)) bool {
		return t.Run(name, func(t *testing.T) {
			at := *h
			at.t = t
			f(t, &at)
		})
	}
	if !step("a package without a configuration installs, and starts nothing", func(t *testing.T, h *host) {
		h.install(t)
		if state, condition := h.property("kuberelay", "ActiveState"), h.run("systemctl start kuberelay; systemctl show --value --property=ConditionResult kuberelay"); state != "inactive" || condition != "no" {
			t.Errorf("state %s, condition %s, want inactive, no", state, condition)
		}
		h.run("systemctl is-enabled kuberelay && kubectl-relay --version && test -f /usr/share/man/man1/kuberelay-serve.1.gz")
	}) || !step("configured, it is ready, and says so", func(t *testing.T, h *host) {
		h.configure(t)
		t.Log(h.run("systemctl --no-pager status kuberelay"))
	}) {
		return
	}
	step("clients of the host are known by their user", usersAreKnown)
	step("a restart under load refuses and fails nothing", func(t *testing.T, h *host) {
		l := newLoad(t, h.address)
		l.during(200, 50, func() { h.run("systemctl restart kuberelay") })
		l.check(50)
	})
	step("a restart lets a session end", sessionEnds)
	step("an upgrade under load refuses and fails nothing", func(t *testing.T, h *host) {
		l := newLoad(t, h.address)
		l.during(200, 50, func() { h.run("dpkg --install /var/tmp/1.deb") })
		l.check(50)
		if v := h.run("curl -s http://127.0.0.1:9801/api/v1/status"); !strings.Contains(v, `"v0.0.2"`) {
			t.Errorf("what runs is not the new version: %.200s", v)
		}
		h.awaitReady()
	})
	step("a reload under load ends no watch", func(t *testing.T, h *host) {
		l := newLoad(t, h.address)
		l.during(50, 10, func() { h.run("systemctl reload kuberelay && systemctl kill --signal=HUP kuberelay") })
		l.check(0)
	})
	step("a reload of a bad file fails with the reason, and changes nothing", badReload)
	step("killed, it is started again", func(t *testing.T, h *host) {
		before, restarts := h.now(), h.property("kuberelay", "NRestarts")
		h.run("systemctl kill --signal=KILL --kill-who=main kuberelay")
		h.awaitRestart(restarts)
		if journal := h.journal(before); !strings.Contains(journal, "Main process exited, code=killed, status=9/KILL") {
			t.Errorf("the journal does not say why:\n%s", journal)
		}
	})
	step("stopped with SIGSTOP, it is killed and started again", func(t *testing.T, h *host) {
		before, restarts := h.now(), h.property("kuberelay", "NRestarts")
		h.run("systemctl kill --signal=STOP --kill-who=main kuberelay")
		h.awaitRestart(restarts)
		if journal := h.journal(before); !strings.Contains(journal, "Watchdog timeout") {
			t.Errorf("the journal does not say why:\n%s", journal)
		}
	})
	step("a full disk of the audit log is one sentence, and reads go on", fullDisk)
	step("a credential that is missing is one sentence", missingCredential)
	step("a second instance has its own files and sockets", secondInstance)
	step("removed, its configuration stays; purged, it goes", removeAndPurge)
}

func (h *host) awaitRestart(before string) {
	h.t.Helper()
	h.await("a restart", time.Minute, func() string {
		if now := h.property("kuberelay", "NRestarts"); now == before {
			return "it has not restarted"
		}
		return ""
	})
	h.awaitReady()
}

func usersAreKnown(t *testing.T, h *host) {
	for _, c := range []struct{ name, user, url, want string }{
		{"by a loopback port", "alice", "http://127.0.0.1:8001", "200"},
		{"by a Unix socket", "alice", "--unix-socket /run/kuberelay/api.sock http://localhost", "200"},
		{"another user, by a port", "nobody", "http://127.0.0.1:8001", "401"},
		{"another user, by a Unix socket", "nobody", "--unix-socket /run/kuberelay/api.sock http://localhost", "401"},
		{"root, who is nowhere written", "root", "http://127.0.0.1:8001", "401"},
	} {
		got := h.run("runuser -u " + c.user + " -- curl -s -o /dev/null -w '%{http_code}' " + c.url + "/api/v1/namespaces/default")
		if got != c.want {
			t.Errorf("%s: HTTP %s, want %s", c.name, got, c.want)
		}
	}
}

// sessionEnds restarts kuberelay while somebody is in a pod, for longer than the
// watchdog waits.
func sessionEnds(t *testing.T, h *host) {
	must(t, cluster.CreatePod(t.Context(), "session"))
	session, out := h.kubectl(h.address, "exec", "session", "--", "sh", "-c", "echo begun; sleep 8; echo ended")
	must(t, session.Start())
	h.await("the session", 30*time.Second, func() string {
		if !strings.Contains(out.String(), "begun") {
			return out.String()
		}
		return ""
	})
	h.run("systemctl restart kuberelay")
	if err := session.Wait(); err != nil || !strings.Contains(out.String(), "ended") {
		t.Errorf("the session was cut: %v\n%s", err, out.String())
	}
	h.awaitReady()
}

func badReload(t *testing.T, h *host) {
	before := h.now()
	h.run("cp /etc/kuberelay/config.yaml /var/tmp/good && sed 's/mode: shared/mode: sharde/' /var/tmp/good > /etc/kuberelay/config.yaml")
	out, err := h.try("systemctl reload kuberelay")
	if err == nil {
		t.Errorf("the reload has succeeded: %s", out)
	}
	if journal := h.journal(before); !strings.Contains(journal, `config.yaml:24: listeners[0].mode: "sharde": want single, shared`) {
		t.Errorf("the journal does not say what is wrong:\n%s", journal)
	}
	h.await("the status to tell", 10*time.Second, func() string {
		if s := h.property("kuberelay", "StatusText"); !strings.Contains(s, "the last reload was refused") {
			return s
		}
		return ""
	})
	usersAreKnown(t, h)
	h.run("cp /var/tmp/good /etc/kuberelay/config.yaml && systemctl reload kuberelay")
	h.awaitReady()
}

func fullDisk(t *testing.T, h *host) {
	h.run("systemctl stop kuberelay && mount -t tmpfs -o size=64k,mode=0750,uid=$(id -u kuberelay),gid=$(id -g kuberelay) tmpfs /var/log/kuberelay && systemctl start kuberelay")
	h.awaitReady()
	before := h.now()
	h.run("dd if=/dev/zero of=/var/log/kuberelay/full bs=1k count=100 2>/dev/null; truncate -s 0 /var/log/kuberelay/audit.jsonl; dd if=/dev/zero of=/var/log/kuberelay/full2 bs=1k count=100 2>/dev/null; true")
	as := "runuser -u alice -- curl -s -o /dev/null -w '%{http_code}' "
	write := as + `-H 'Content-Type: application/json' -d '{"metadata":{"generateName":"disk-"}}' http://127.0.0.1:8001/api/v1/namespaces/default/configmaps`
	read := as + "http://127.0.0.1:8001/api/v1/namespaces/default"
	if w, r := h.run(write), h.run(read); w != "503" || r != "200" {
		t.Errorf("write %s, read %s, want 503 and 200", w, r)
	}
	if journal := h.journal(before); strings.Count(journal, "no space left on device") != 1 {
		t.Errorf("want one line about the full disk:\n%s", journal)
	} else {
		t.Log(journal)
	}
	h.run("rm /var/log/kuberelay/full*")
	if w := h.run(write); w != "201" {
		t.Errorf("with room again, a write is %s, want 201", w)
	}
	h.run("systemctl stop kuberelay && umount /var/log/kuberelay && systemctl start kuberelay")
	h.awaitReady()
}

func missingCredential(t *testing.T, h *host) {
	refused := func(want string) {
		t.Helper()
		before := h.now()
		if out, err := h.try("systemctl daemon-reload && systemctl restart kuberelay"); err == nil {
			t.Errorf("it has started: %s", out)
		}
		if journal := h.journal(before); !strings.Contains(journal, want) {
			t.Errorf("the journal does not say %s:\n%s", want, journal)
		}
		if status, _ := h.try("systemctl --no-pager status kuberelay"); !strings.Contains(status, want) {
			t.Errorf("systemctl status does not say %s:\n%s", want, status)
		} else {
			t.Log(status)
		}
	}
	const field = "error: /etc/kuberelay/config.yaml:9: credentials[0].tokenFile: "
	const unit = "/etc/systemd/system/kuberelay.service.d/test.conf"
	h.run("cp " + unit + " /var/tmp/unit && sed -i 's/Credential=prod.token/Credential=other/' " + unit)
	refused(field + "stat /run/credentials/kuberelay.service/prod.token: no such file or directory")
	h.run("cp /var/tmp/unit " + unit + " && mv /etc/kuberelay/secrets/prod.token /var/tmp/")
	refused("status=243/CREDENTIALS") // the rest is systemd's, and differs from version to version
	h.run("mv /var/tmp/prod.token /etc/kuberelay/secrets/")
	h.awaitReady() // by itself: it is tried again and again
}

func secondInstance(t *testing.T, h *host) {
	h.write("/etc/kuberelay/two.token", broker, 0o600, "kuberelay:")
	h.run(`sed -e '/^- {name: local/d; /^- name: kubectl/,/^  tls:/d; s|systemd:kuberelay-api.socket|systemd:api|; s|9801|9802|' \
		-e 's|/run/kuberelay/admin|/run/kuberelay/two/admin|; s|log/kuberelay/|log/kuberelay/two/|; s|/run/credentials/kuberelay.service/prod|/etc/kuberelay/two|' \
		/etc/kuberelay/config.yaml > /etc/kuberelay/two.yaml && systemctl start kuberelay@two.socket kuberelay@two.service`)
	const ask = "runuser -u alice -- curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/kuberelay/two/api.sock http://localhost/version"
	if got := h.run(ask); got != "200" {
		t.Errorf("alice: HTTP %s, want 200", got)
	}
	h.run("systemctl reload kuberelay@two && kuberelay status --config /etc/kuberelay/two.yaml && test -s /var/log/kuberelay/two/audit.jsonl && systemctl restart kuberelay@two")
	if got := h.run(ask); got != "200" {
		t.Errorf("alice, after a restart: HTTP %s, want 200", got)
	}
	// Alone, as it may be for good, and with the other one.
	h.run("systemctl stop kuberelay.socket kuberelay-api.socket kuberelay-tls.socket kuberelay.service && logrotate --force /etc/logrotate.d/kuberelay && test -s /var/log/kuberelay/two/audit.jsonl.1")
	h.await("a new file of the audit log", 10*time.Second, func() string {
		out, err := h.try(ask + " && test -s /var/log/kuberelay/two/audit.jsonl")
		if err != nil {
			return out + " " + err.Error()
		}
		return ""
	})
	h.run("systemctl start kuberelay.socket kuberelay-api.socket kuberelay-tls.socket kuberelay.service && logrotate --force /etc/logrotate.d/kuberelay")
	h.awaitReady()
}

func removeAndPurge(t *testing.T, h *host) {
	newLoad(t, h.address).insist(func() { h.run("dpkg --remove kuberelay") })
	h.nothingRuns()
	h.run("test -f /etc/kuberelay/config.yaml && test -f /etc/kuberelay/secrets/prod.token && test -s /var/log/kuberelay/audit.jsonl && ! test -e /usr/bin/kuberelay && ! systemctl is-active kuberelay.service kuberelay.socket")
	h.run("dpkg --install /var/tmp/1.deb && systemctl start kuberelay.socket kuberelay-api.socket kuberelay-tls.socket kuberelay")
	h.awaitReady()
	h.run("dpkg --purge kuberelay")
	h.run("! test -e /etc/kuberelay && ! test -e /var/lib/kuberelay && ! test -e /var/log/kuberelay && systemctl daemon-reload")
	if left := h.run("find /etc/systemd /lib/systemd /usr/share -name '*kuberelay*' -not -path '*.service.d*' -not -path '*.socket.d*'"); left != "" {
		t.Errorf("left over:\n%s", left)
	}
}
