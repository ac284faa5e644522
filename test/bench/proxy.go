package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const startTimeout = 30 * time.Second

// proxy is a running candidate.
type proxy struct {
	name, version string
	addr          string // host:port
	cmd           *exec.Cmd
}

// stop ends the process, with force when it does not go.
func (p *proxy) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}

// environment is what all candidates are given.
type environment struct {
	dir, kubeconfig string
	origins         *origins
}

func (e environment) writeKubeconfig() error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: bench
clusters:
- {name: bench, cluster: {server: "https://%s", certificate-authority-data: %s}}
users:
- {name: bench, user: {token: %s}}
contexts:
- {name: bench, context: {cluster: bench, user: bench}}
`, e.origins.addrs[0], base64.StdEncoding.EncodeToString(e.origins.ca), token)
	return os.WriteFile(e.kubeconfig, []byte(text), 0o600)
}

// servers are the origins after the first, which the kubeconfig names.
func (e environment) servers() string {
	var urls []string
	for _, a := range e.origins.addrs[1:] {
		urls = append(urls, "https://"+a)
	}
	return strings.Join(urls, ",")
}

// startProxies returns the proxies that were started, also along with an error.
func startProxies(ctx context.Context, cfg config, env environment) ([]*proxy, error) {
	var proxies []*proxy
	start := func(name, version, announces, addr string, cmd *exec.Cmd) error {
		p, err := startProxy(ctx, name, announces, addr, cmd)
		if p != nil {
			p.version = version
			proxies = append(proxies, p)
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
		return nil
	}
	kubectl := exec.CommandContext(ctx, cfg.kubectl, "proxy", "--kubeconfig", env.kubeconfig, "--port", "0")
	if err := start("kubectl", versionOf(ctx, cfg.kubectl, "version", "--client"), announceProxy, "", kubectl); err != nil {
		return proxies, err
	}
	args := []string{"proxy", "--kubeconfig", env.kubeconfig, "--port", "0"}
	if servers := env.servers(); servers != "" {
		args = append(args, "--servers", servers)
	}
	relay := exec.CommandContext(ctx, cfg.kuberelay, args...)
	if err := start("kuberelay", versionOf(ctx, cfg.kuberelay, "version"), announceProxy, "", relay); err != nil {
		return proxies, err
	}
	for _, name := range cfg.with {
		if isShared(name) {
			cmd, err := sharedServe(ctx, cfg.kuberelay, name, env)
			if err != nil {
				return proxies, err
			}
			if err := start(name, "kuberelay serve", announceServe, "", cmd); err != nil {
				return proxies, err
			}
			continue
		}
		cmd, addr, version, err := reference(ctx, name, env)
		if err != nil {
			return proxies, err
		}
		if err := start(name, version, "", addr, cmd); err != nil {
			return proxies, err
		}
	}
	return proxies, nil
}

// What begins the line with which a proxy announces its address.
const (
	announceProxy = "Starting to serve on "
	announceServe = "Serving local on "
)

// startProxy starts cmd and returns when it serves. announces begins the line
// in which it prints its address; "": it prints none.
func startProxy(ctx context.Context, name, announces, addr string, cmd *exec.Cmd) (*proxy, error) {
	logFile, err := os.CreateTemp("", "kuberelay-bench-"+name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = logFile.Close()
		_ = os.Remove(logFile.Name())
	}()
	cmd.Stderr = logFile
	var out io.Reader
	if announces != "" {
		if out, err = cmd.StdoutPipe(); err != nil {
			return nil, err
		}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &proxy{name: name, addr: addr, cmd: cmd}
	tooLate := time.AfterFunc(startTimeout, func() { _ = cmd.Process.Kill() })
	defer tooLate.Stop()
	if announces != "" {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, announces) {
			said, _ := os.ReadFile(logFile.Name())
			return p, fmt.Errorf("it printed %q instead of its address, and: %s", line, said)
		}
		p.addr = strings.TrimSpace(strings.TrimPrefix(line, announces))
		return p, nil
	}
	return p, awaitPort(ctx, addr)
}

// awaitPort returns when addr accepts connections.
func awaitPort(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// findPrograms fills in the binaries that no flag names, building them if need
// be.
func findPrograms(ctx context.Context, cfg *config, dir string) error {
	if cfg.kuberelay == "" {
		cfg.kuberelay = filepath.Join(dir, "kuberelay")
		progress("building kuberelay (a first build compiles client-go: 1 to 3 minutes)")
		if err := goBuild(ctx, ".", cfg.kuberelay, "./cmd/kuberelay"); err != nil {
			return err
		}
	}
	if cfg.kubectl == "" {
		cfg.kubectl = labKubectl()
	}
	if cfg.kubectl == "" {
		cfg.kubectl, _ = exec.LookPath("kubectl")
	}
	if cfg.kubectl == "" {
		cfg.kubectl = filepath.Join(dir, "kubectl")
		progress("building kubectl, as there is none (1 to 3 minutes)")
		return goBuild(ctx, filepath.Join("test", "lab", "components"), cfg.kubectl, "k8s.io/kubernetes/cmd/kubectl")
	}
	return nil
}

// labKubectl returns the kubectl that test/lab has built, or "".
func labKubectl() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	found, _ := filepath.Glob(filepath.Join(cache, "kuberelay-lab", "*", "bin", "kubectl"))
	newest, when := "", time.Time{}
	for _, f := range found {
		if info, err := os.Stat(f); err == nil && info.ModTime().After(when) {
			newest, when = f, info.ModTime()
		}
	}
	return newest
}

func goBuild(ctx context.Context, dir, output, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", output, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s in %s (run bench from the repository's root): %w", pkg, dir, err)
	}
	return nil
}

// versionOf returns the first line that a program prints about itself.
func versionOf(ctx context.Context, program string, args ...string) string {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
