package systemd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// host is a container with systemd as its first process.
type host struct {
	t       *testing.T
	index   int
	address string
	files   string // its root, seen from outside
	leader  string // the process ID of its systemd
}

// boot starts a host, the i-th, and waits until it is up. It ends with the test.
func boot(t *testing.T, i int) *host {
	t.Helper()
	h := &host{t: t, index: i, address: address(i), files: filepath.Join(t.TempDir(), "host")}
	must(t, command("cp", "-a", "--reflink=auto", tree, h.files))
	must(t, os.WriteFile(filepath.Join(h.files, "etc/hostname"), fmt.Appendf(nil, "bastion-%d\n", i), 0o644))
	// Its address on the bridge, before anything that wants the network.
	unit := "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\nExecStart=ip addr add " + h.address + "/24 dev host0\nExecStart=ip link set host0 up\n[Install]\nWantedBy=multi-user.target\n"
	must(t, os.WriteFile(filepath.Join(h.files, "etc/systemd/system/address.service"), []byte(unit), 0o644))
	must(t, os.Symlink("/etc/systemd/system/address.service", filepath.Join(h.files, "etc/systemd/system/multi-user.target.wants/address.service")))

	log, err := os.Create(filepath.Join(t.TempDir(), "console"))
	must(t, err)
	nspawn := exec.Command("nsenter", "--net=/run/netns/"+bridge.name, "systemd-nspawn", "--quiet", "--directory="+h.files,
		"--machine=bastion-"+strconv.Itoa(i), "--boot", "--network-bridge="+bridgeName, "--register=no", "--keep-unit", "--console=pipe")
	nspawn.Stdout, nspawn.Stderr = log, log
	must(t, cluster.StartChild(nspawn))
	ended := make(chan error, 1)
	go func() { ended <- nspawn.Wait() }()
	t.Cleanup(func() {
		_ = nspawn.Process.Kill()
		<-ended
		if h.leader != "" {
			_ = exec.Command("kill", "-9", h.leader).Run()
		}
		log.Close()
	})
	h.await("the host to be up", 2*time.Minute, func() string {
		select {
		case err := <-ended:
			ended <- err
			console, _ := os.ReadFile(log.Name())
			t.Fatalf("systemd-nspawn has ended: %v\n%s", err, console)
		default:
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn.Process.Pid, nspawn.Process.Pid))
		for child := range strings.FieldsSeq(string(children)) {
			if name, _ := os.ReadFile("/proc/" + child + "/comm"); strings.TrimSpace(string(name)) == "systemd" {
				h.leader = child
			}
		}
		if h.leader == "" {
			return "systemd has not begun"
		}
		out, _ := h.try("systemctl is-system-running")
		if state := strings.TrimSpace(out); state != "running" && state != "degraded" {
			return state
		}
		return ""
	})
	return h
}

// try runs a shell command in the host.
func (h *host) try(script string) (output string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--target="+h.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "sh", "-c", script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try for a command that has to succeed.
func (h *host) run(script string) string {
	h.t.Helper()
	out, err := h.try(script)
	if err != nil {
		status, _ := h.try("systemctl --no-pager status kuberelay; journalctl --no-pager -n 30 -u kuberelay")
		h.t.Fatalf("%s: %v\n%s\n--\n%s", script, err, out, status)
	}
	return strings.TrimSpace(out)
}

// write puts a file into the host, with a mode and an owner of the host.
func (h *host) write(path, content string, mode os.FileMode, owner string) {
	h.t.Helper()
	full := filepath.Join(h.files, path)
	must(h.t, os.MkdirAll(filepath.Dir(full), 0o755))
	must(h.t, os.WriteFile(full, []byte(content), mode))
	h.run("chown " + owner + " " + path)
}

// await waits until pending has nothing to say any more.
func (h *host) await(what string, atMost time.Duration, pending func() string) {
	h.t.Helper()
	deadline := time.Now().Add(atMost)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		why := pending()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("waited %v for %s: %s", atMost, what, why)
		}
	}
}

// property is one of systemctl show.
func (h *host) property(unit, name string) string {
	h.t.Helper()
	return h.run("systemctl show --value --property=" + name + " " + unit)
}

// awaitReady waits until the service runs and has all API servers.
func (h *host) awaitReady() {
	h.t.Helper()
	h.await("kuberelay to be ready", time.Minute, func() string {
		state, status := h.property("kuberelay", "ActiveState"), h.property("kuberelay", "StatusText")
		if state == "active" && status == "3/3 API servers ready" {
			return ""
		}
		return state + ", " + status
	})
}

// journal is what kuberelay's unit has said since a cursor; see now.
func (h *host) journal(since string) string {
	h.t.Helper()
	return h.run("journalctl --sync; journalctl --no-pager --output=cat --unit=kuberelay --after-cursor='" + since + "'")
}

func (h *host) now() (cursor string) {
	h.t.Helper()
	out := h.run("journalctl --sync; journalctl --no-pager --lines=1 --show-cursor")
	_, cursor, _ = strings.Cut(out, "-- cursor: ")
	return cursor
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
