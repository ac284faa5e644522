package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// Paths are the programs that a lab runs.
type Paths struct {
	Etcd      string
	APIServer string
	Kubectl   string
	Kwok      string
	// Stages are the files that tell kwok how nodes and pods live. They come
	// with its module.
	Stages []string
}

// tool is one module whose programs the lab needs.
type tool struct {
	dir      string
	what     string
	ldflags  string
	programs map[string]string // name as go build writes it: name in the cache
}

// KubernetesVersion is the version of the API servers and of kubectl.
const KubernetesVersion = "v1.37.2"

const (
	kwokModule = "sigs.k8s.io/kwok"
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

func tools() []tool {
	return []tool{
		{
			dir:     "components",
			what:    "etcd, kubectl and kube-apiserver " + KubernetesVersion,
			ldflags: "-s -w" + versionFlags(),
			programs: map[string]string{
				"server":         "etcd",
				"kube-apiserver": "kube-apiserver",
				"kubectl":        "kubectl",
			},
		},
		{
			dir:      "kwok",
			what:     "kwok",
			ldflags:  "-s -w",
			programs: map[string]string{"kwok": "kwok"},
		},
	}
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

// Binaries returns the lab's programs. What is missing is built from the tool
// modules beside this package, which takes several minutes the first time, and
// kept under the user's cache directory by the hash of those modules' go.mod
// and go.sum. Progress is written to progress, a line every 15 s. Processes
// that need the same programs wait for the one that builds them.
func Binaries(ctx context.Context, progress io.Writer) (Paths, error) {
	source, err := sourceDir()
	if err != nil {
		return Paths{}, err
	}
	key, err := cacheKey(source)
	if err != nil {
		return Paths{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Paths{}, fmt.Errorf("find a place for the lab's programs: %w", err)
	}
	dir := filepath.Join(cache, "kuberelay-lab", key)
	paths := pathsIn(dir)
	if _, err := os.Stat(dir); err == nil {
		return paths, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Paths{}, err
	}
	unlock, err := lockFile(ctx, dir+".lock", func() {
		fmt.Fprintln(progress, "waiting for another process that builds the lab's programs…")
	})
	if err != nil {
		return Paths{}, err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return paths, nil
	}
	if err := buildAll(ctx, source, dir, progress); err != nil {
		return Paths{}, err
	}
	return paths, nil
}

func pathsIn(dir string) Paths {
	bin := filepath.Join(dir, "bin")
	p := Paths{
		Etcd:      filepath.Join(bin, "etcd"),
		APIServer: filepath.Join(bin, "kube-apiserver"),
		Kubectl:   filepath.Join(bin, "kubectl"),
		Kwok:      filepath.Join(bin, "kwok"),
	}
	for _, f := range stageFiles {
		p.Stages = append(p.Stages, filepath.Join(dir, "stages", filepath.Base(f)))
	}
	return p
}

// sourceDir is the directory of this package, where the tool modules are. The
// compiler knows it; with -trimpath it is searched from the working directory
// upwards.
func sourceDir() (string, error) {
	isSource := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "components", "go.mod"))
		return err == nil
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) && isSource(filepath.Dir(file)) {
		return filepath.Dir(file), nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "test", "lab")} {
			if isSource(candidate) {
				return candidate, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find test/lab/components/go.mod: not in %s nor above it: run in kuberelay's source tree", wd)
		}
	}
}

func cacheKey(source string) (string, error) {
	h := sha256.New()
	for _, t := range tools() {
		for _, name := range []string{"go.mod", "go.sum"} {
			b, err := os.ReadFile(filepath.Join(source, t.dir, name))
			if err != nil {
				return "", err
			}
			h.Write(b)
		}
		fmt.Fprintln(h, runtime.GOOS, runtime.GOARCH, t.ldflags, stageFiles)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
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
	for _, sub := range []string{"bin", "stages", "out"} {
		if err := os.Mkdir(filepath.Join(tmp, sub), 0o755); err != nil {
			return err
		}
	}
	began := time.Now()
	for _, t := range tools() {
		if err := t.build(ctx, source, tmp, progress); err != nil {
			return err
		}
	}
	if err := copyStages(ctx, source, filepath.Join(tmp, "stages")); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(tmp, "out")); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	fmt.Fprintf(progress, "built the lab's programs in %v; they are kept in %s\n", time.Since(began).Round(time.Second), dir)
	return nil
}

func (t tool) build(ctx context.Context, source, tmp string, progress io.Writer) error {
	out := filepath.Join(tmp, "out")
	cmd := goCommand(ctx, filepath.Join(source, t.dir), "build", "-trimpath", "-ldflags", t.ldflags, "-o", out+string(filepath.Separator), "tool")
	err := withProgress(progress, "building "+t.what+" from Go modules (several minutes the first time)…", func() error {
		return runQuietly(cmd)
	})
	if err != nil {
		return fmt.Errorf("build %s: %w", t.what, err)
	}
	for built, name := range t.programs {
		if err := os.Rename(filepath.Join(out, built), filepath.Join(tmp, "bin", name)); err != nil {
			return err
		}
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

func copyStages(ctx context.Context, source, dir string) error {
	var out bytes.Buffer
	cmd := goCommand(ctx, filepath.Join(source, "kwok"), "list", "-m", "-f", "{{.Dir}}", kwokModule)
	cmd.Stdout = &out
	if err := runQuietly(cmd); err != nil {
		return fmt.Errorf("find the module %s: %w", kwokModule, err)
	}
	module := strings.TrimSpace(out.String())
	for _, f := range stageFiles {
		b, err := os.ReadFile(filepath.Join(module, filepath.FromSlash(f)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o644); err != nil {
			return err
		}
	}
	return nil
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
