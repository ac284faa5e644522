package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kuberelay/kuberelay/test/lab"
)

// sandbox is what the commands find: a machine with users, programs and a
// cluster.
type sandbox struct {
	dir     string
	goEnv   []string
	cluster *lab.Lab
	fronts  []*front // of the cluster's servers
}

// users are those of the machine beside root, as serve.md names them.
var users = map[string]uint32{"alice": 1001, "bob": 1002}

// enter makes the namespaces of this process the sandbox.
func (s *sandbox) enter() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range []string{"/etc", "/run", "/var/log", "/var/lib"} {
		if err := s.cover(dir); err != nil {
			return err
		}
	}
	if err := s.addUsers(); err != nil {
		return err
	}
	out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip link set lo up: %w\n%s", err, out)
	}
	return nil
}

// cover puts a file system in memory over a directory, with links to what was
// there, but for kuberelay's own.
func (s *sandbox) cover(dir string) error {
	under := filepath.Join(s.dir, "under", dir)
	if err := os.MkdirAll(under, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(dir, under, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", dir, under, err)
	}
	entries, err := os.ReadDir(under)
	if err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.Name() == "kuberelay" {
			continue
		}
		target := filepath.Join(under, e.Name())
		if e.Type()&os.ModeSymlink != 0 { // It may be relative to its place.
			if target, err = os.Readlink(target); err != nil {
				return err
			}
		}
		if err := os.Symlink(target, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// addUsers writes a file of users of its own.
func (s *sandbox) addUsers() error {
	const passwd = "/etc/passwd"
	old, err := os.ReadFile(passwd)
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(old)) {
		if name, _, _ := strings.Cut(line, ":"); users[name] == 0 {
			b.WriteString(line)
		}
	}
	for name, uid := range users {
		fmt.Fprintf(&b, "%s:x:%d:%[2]d::%s:/bin/bash\n", name, uid, s.home(name))
	}
	return errors.Join(os.Remove(passwd), os.WriteFile(passwd, []byte(b.String()), 0o644))
}

func (s *sandbox) home(user string) string { return filepath.Join(s.dir, "home", user) }

// start starts a cluster whose API servers are where the documents have them,
// with a pod, and gives root a kubeconfig of its administrator.
func (s *sandbox) start(ctx context.Context) (err error) {
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOROOT"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return err
		}
		s.goEnv = append(s.goEnv, name+"="+strings.TrimSpace(string(value)))
	}
	// There is no network, and what is needed has been fetched.
	s.goEnv = append(s.goEnv, "GOPROXY=off", "GOFLAGS="+os.Getenv("GOFLAGS"), "GOTOOLCHAIN=local")

	if s.cluster, err = lab.Start(ctx, lab.Options{Log: os.Stderr}); err != nil {
		return err
	}
	if err := addAddress("10.1.0.1/24"); err != nil { // the host's own, in gossip.md
		return err
	}
	var addresses []string
	for i, server := range s.cluster.Servers {
		f := &front{address: fmt.Sprintf("10.0.0.%d:6443", 11+i), server: server}
		host, _, _ := strings.Cut(f.address, ":")
		if err := addAddress(host + "/32"); err != nil {
			return err
		}
		if err := f.open(); err != nil {
			return err
		}
		s.fronts, addresses = append(s.fronts, f), append(addresses, f.address)
	}
	if err := s.cluster.PublishEndpoints(ctx, addresses...); err != nil {
		return err
	}
	if err := s.cluster.CreatePod(ctx, "web"); err != nil {
		return err
	}
	return s.furnish()
}

func addAddress(prefix string) error {
	out, err := exec.Command("ip", "addr", "add", prefix, "dev", "lo").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip addr add %s dev lo: %w\n%s", prefix, err, out)
	}
	return nil
}

// furnish makes root's home: a kubeconfig, and a git that finds this tree where
// the documents say that it is.
func (s *sandbox) furnish() error {
	kubeconfig, err := os.ReadFile(s.cluster.Kubeconfig())
	if err != nil {
		return err
	}
	text := strings.Replace(string(kubeconfig), s.cluster.Servers[0].URL(), "https://"+s.fronts[0].address, 1)
	// The certificate has none of the addresses.
	text = strings.Replace(text, "    server: ", "    tls-server-name: kubernetes\n    server: ", 1)
	git := fmt.Sprintf("[safe]\n\tdirectory = *\n[url %q]\n\tinsteadOf = https://github.com/kuberelay/kuberelay\n", "file://"+filepath.Join(s.dir, "source"))
	home := s.home("root")
	return errors.Join(
		os.MkdirAll(filepath.Join(home, ".kube"), 0o755),
		os.WriteFile(filepath.Join(home, ".kube", "config"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(git), 0o600),
	)
}

// terminal opens a shell of a user, in a directory of the document's.
func (s *sandbox) terminal(user, document string) (*shell, error) {
	uid, known := users[user]
	if !known && user != "root" {
		return nil, fmt.Errorf("there is no user %s", user)
	}
	place := strings.NewReplacer("/", "-", ".", "-").Replace(document)
	dir := filepath.Join(s.home(user), place)
	scratch := filepath.Join(s.dir, "typed", user+"-"+place)
	for _, d := range []string{dir, scratch} {
		if err := errors.Join(os.MkdirAll(d, 0o755), os.Chown(d, int(uid), int(uid))); err != nil {
			return nil, err
		}
	}
	// curl says how it was answered, and is else as it is.
	curlrc := filepath.Join(s.home(user), ".curlrc")
	if err := os.WriteFile(curlrc, []byte(`write-out = "%{stderr}HTTP %{http_code}\n"`+"\n"), 0o644); err != nil {
		return nil, err
	}
	env := []string{
		"HOME=" + s.home(user), "USER=" + user, "LOGNAME=" + user, "TERM=dumb", "LANG=C.UTF-8",
		"PATH=" + filepath.Join(s.dir, "bin") + ":" + os.Getenv("PATH"),
	}
	if user == "root" {
		return newShell(dir, scratch, append(env, s.goEnv...), nil)
	}
	if err := os.Chown(s.home(user), int(uid), int(uid)); err != nil {
		return nil, err
	}
	return newShell(dir, scratch, env, &syscall.Credential{Uid: uid, Gid: uid})
}

func (s *sandbox) close() error {
	for _, f := range s.fronts {
		f.cut()
	}
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Close()
}

// kill ends the process of an API server as kill -9 does: its connections are
// reset, and its address refuses others.
func (s *sandbox) kill(i int) error {
	s.fronts[i].cut()
	return s.cluster.Servers[i].Kill()
}

// restore brings back the servers that were killed.
func (s *sandbox) restore(ctx context.Context) error {
	for i, server := range s.cluster.Servers {
		if server.State() != lab.Dead {
			continue
		}
		if err := errors.Join(server.Start(ctx), server.WaitReady(ctx), s.fronts[i].open()); err != nil {
			return err
		}
	}
	return nil
}
