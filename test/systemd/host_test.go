package systemd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// host is a container with systemd as its first process.
type host struct {
	t       *testing.T
	index   int
	name    string
	address string
	files   string // its root, seen from outside
	console string // a file with what it says while it boots
	nspawn  *exec.Cmd
	ended   chan error // of nspawn; nil without power
	leader  string     // the process ID of its systemd; empty without power
}

// boot makes a host, the i-th, and waits until it is up. It ends with the test.
func boot(t *testing.T, i int) *host {
	t.Helper()
	h := &host{t: t, index: i, name: "bastion-" + strconv.Itoa(i), address: address(i), files: filepath.Join(t.TempDir(), "host"), console: filepath.Join(t.TempDir(), "console")}
	must(t, command("cp", "-a", "--reflink=auto", tree, h.files))
	must(t, os.WriteFile(filepath.Join(h.files, "etc/hostname"), []byte(h.name+"\n"), 0o644))
	// Its address on the bridge, before anything that wants the network.
	unit := "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\nExecStart=ip addr add " + h.address + "/24 dev host0\nExecStart=ip link set host0 up\n[Install]\nWantedBy=multi-user.target\n"
	must(t, os.WriteFile(filepath.Join(h.files, "etc/systemd/system/address.service"), []byte(unit), 0o644))
	must(t, os.Symlink("/etc/systemd/system/address.service", filepath.Join(h.files, "etc/systemd/system/multi-user.target.wants/address.service")))
	t.Cleanup(h.pull)
	h.powerOn()
	return h
}

// powerOn starts the host with the files that it has, and waits until it is up.
func (h *host) powerOn() {
	h.t.Helper()
	log, err := os.Create(h.console)
	must(h.t, err)
	defer log.Close()
	nspawn := exec.Command("nsenter", "--net=/run/netns/"+bridge.name, "systemd-nspawn", "--quiet", "--directory="+h.files,
		"--machine="+h.name, "--boot", "--network-bridge="+bridgeName, "--register=no", "--keep-unit", "--console=pipe")
	nspawn.Stdout, nspawn.Stderr = log, log
	must(h.t, cluster.StartChild(nspawn))
	h.nspawn, h.ended = nspawn, make(chan error, 1)
	go func(ended chan<- error) { ended <- nspawn.Wait() }(h.ended)
	h.await("the host to be up", 2*time.Minute, func() string {
		select {
		case err := <-h.ended:
			h.ended = nil
			console, _ := os.ReadFile(h.console)
			h.t.Fatalf("systemd-nspawn has ended: %v\n%s", err, console)
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
}

// pull takes the power away: nothing in the host ends in order.
func (h *host) pull() {
	if h.ended == nil {
		return
	}
	if h.leader == "" {
		_ = h.nspawn.Process.Kill()
	} else {
		_ = exec.Command("kill", "-9", h.leader).Run()
	}
	h.off()
}

// powerOff shuts the host down.
func (h *host) powerOff() {
	h.t.Helper()
	if out, err := h.try("systemctl poweroff"); err != nil {
		h.t.Logf("systemctl poweroff: %v: %s", err, out) // it may be off before it can answer
	}
	h.off()
}

// off waits until the host has ended.
func (h *host) off() {
	select {
	case <-h.ended:
	case <-time.After(time.Minute):
		h.t.Errorf("host %d did not end within a minute", h.index)
	}
	h.leader, h.ended = "", nil
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

// readyText is the status of a service that has all API servers, and perhaps
// peers.
var readyText = regexp.MustCompile(`^3/3 API servers ready(, \d/\d peers)?$`)

// awaitReady waits until the service runs and has all API servers.
func (h *host) awaitReady() {
	h.t.Helper()
	h.await("kuberelay to be ready", time.Minute, func() string {
		state, status := h.property("kuberelay", "ActiveState"), h.property("kuberelay", "StatusText")
		if state == "active" && readyText.MatchString(status) {
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
