package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	componentsDir = "components"
	kwokDir       = "kwok"
	kwokModule    = "sigs.k8s.io/kwok"
	// A line this often while nothing can be seen of a build that takes minutes.
	progressInterval = 15 * time.Second
)

// stageFiles are relative to kwok's module.
var stageFiles = []string{
	"kustomize/stage/node/fast/node-initialize.yaml",
	"kustomize/stage/node/heartbeat/node-heartbeat.yaml",
	"kustomize/stage/pod/fast/pod-ready.yaml",
	"kustomize/stage/pod/fast/pod-complete.yaml",
	"kustomize/stage/pod/fast/pod-delete.yaml",
}

// build is the making of one set of programs.
type build struct {
	source   string    // this package's directory
	tmp      string    // where the result is put together
	progress io.Writer // what is going on, for a person
}

// buildAll fills dir, which appears complete or not at all.
func buildAll(ctx context.Context, source, dir string, progress io.Writer) (err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".building-")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(tmp))
	}()
	b := build{source: source, tmp: tmp, progress: progress}
	result := filepath.Join(tmp, "result")
	for _, sub := range []string{"bin", "stages"} {
		if err := os.MkdirAll(filepath.Join(result, sub), 0o755); err != nil {
			return err
		}
	}
	began := time.Now()
	if err := b.components(ctx); err != nil {
		return err
	}
	if err := b.kwok(ctx); err != nil {
		return err
	}
	if err := os.Rename(result, dir); err != nil {
		return err
	}
	fmt.Fprintf(progress, "built the lab's programs in %v; they are kept in %s\n", time.Since(began).Round(time.Second), dir)
	return nil
}

func (b build) bin(name string) string { return filepath.Join(b.tmp, "result", "bin", name) }

// components builds etcd, kube-apiserver and kubectl.
func (b build) components(ctx context.Context) error {
	what := "etcd, kubectl and kube-apiserver " + KubernetesVersion
	err := b.tools(ctx, componentsDir, what, "-ldflags", "-s -w"+versionFlags(), "-o", b.bin("")+string(filepath.Separator))
	if err != nil {
		return err
	}
	// Its package is named server, and so is the program.
	return os.Rename(b.bin("server"), b.bin("etcd"))
}

// versionFlags make the programs report their version, as
// kubernetes/hack/lib/version.sh does.
func versionFlags() string {
	major, rest, _ := strings.Cut(strings.TrimPrefix(KubernetesVersion, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	var b strings.Builder
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		fmt.Fprintf(&b, " -X %s.gitVersion=%s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitTreeState=archive",
			pkg, KubernetesVersion, major, minor)
	}
	return b.String()
}

// kwok builds kwok from a repaired copy of its module, and takes its stage
// files.
func (b build) kwok(ctx context.Context) error {
	module, err := b.moduleDir(ctx)
	if err != nil {
		return err
	}
	fixed := filepath.Join(b.tmp, "kwok")
	if err := fixKwok(module, fixed); err != nil {
		return err
	}
	modfile, err := b.kwokModfile(fixed)
	if err != nil {
		return err
	}
	err = b.tools(ctx, kwokDir, "kwok", "-modfile", modfile, "-ldflags", "-s -w", "-o", b.bin("kwok"))
	if err != nil {
		return err
	}
	for _, f := range stageFiles {
		data, err := os.ReadFile(filepath.Join(module, filepath.FromSlash(f)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(b.tmp, "result", "stages", filepath.Base(f)), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// moduleDir is the directory of kwok's module in the module cache.
func (b build) moduleDir(ctx context.Context) (string, error) {
	var out bytes.Buffer
	dir := filepath.Join(b.source, kwokDir)
	// Download first: list says nothing of a module that is not there yet.
	if err := runQuietly(goCommand(ctx, dir, "mod", "download", kwokModule)); err != nil {
		return "", err
	}
	cmd := goCommand(ctx, dir, "list", "-m", "-f", "{{.Dir}}", kwokModule)
	cmd.Stdout = &out
	if err := runQuietly(cmd); err != nil {
		return "", err
	}
	return strings.TrimSpace(out.String()), nil
}

// kwokModfile writes a go.mod, and its go.sum, that take kwok from dir.
func (b build) kwokModfile(dir string) (string, error) {
	modfile := filepath.Join(b.tmp, "kwok.mod")
	for from, to := range map[string]string{"go.mod": modfile, "go.sum": filepath.Join(b.tmp, "kwok.sum")} {
		data, err := os.ReadFile(filepath.Join(b.source, kwokDir, from))
		if err != nil {
			return "", err
		}
		if from == "go.mod" {
			data = fmt.Appendf(data, "\nreplace %s => %s\n", kwokModule, dir)
		}
		if err := os.WriteFile(to, data, 0o600); err != nil {
			return "", err
		}
	}
	return modfile, nil
}

// tools builds the tools of the module in dir and says so.
func (b build) tools(ctx context.Context, dir, what string, args ...string) error {
	args = append(append([]string{"build", "-trimpath"}, args...), "tool")
	cmd := goCommand(ctx, filepath.Join(b.source, dir), args...)
	err := withProgress(b.progress, "building "+what+" from Go modules (several minutes the first time)…", func() error {
		return runQuietly(cmd)
	})
	if err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	return nil
}

// withProgress prints the line at once and again with the time passed until
// work returns.
func withProgress(w io.Writer, line string, work func() error) error {
	fmt.Fprintln(w, line)
	done := make(chan error, 1)
	go func() { done <- work() }()
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			fmt.Fprintf(w, "%s %v\n", line, time.Since(began).Round(time.Second))
		}
	}
}

// goCommand runs the go command in a tool module, whatever workspace, flags or
// target platform the caller's environment has.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// runQuietly runs cmd and returns what it wrote to standard error only when it
// fails.
func runQuietly(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if err != nil {
		return fmt.Errorf("%s in %s: %w\n%s", strings.Join(cmd.Args[:2], " "), cmd.Dir, err, lastLines(stderr.Bytes(), 20))
	}
	return nil
}
