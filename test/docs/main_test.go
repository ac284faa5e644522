package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// The tests are two processes. The outer one builds what is needed, with the
// network that there is, and runs the inner one in namespaces of its own, where
// it is the first process: when it ends, everything in them does.

// insideVariable tells the inner process the sandbox's directory.
const insideVariable = "KUBERELAY_DOCS_SANDBOX"

// exitUnable is the inner process's exit code where the machine does not let it
// prepare its namespaces.
const exitUnable = 42

// inside is the sandbox, in the inner process; whyNot says why there is none.
var (
	inside *sandbox
	whyNot string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if dir := os.Getenv(insideVariable); dir != "" {
		inside = &sandbox{dir: dir}
		if err := inside.enter(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return exitUnable, nil
		}
		defer func() { err = errors.Join(err, inside.close()) }()
		return m.Run(), nil
	}
	if whyNot = unable(); whyNot != "" {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "kuberelay-docs-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := prepare(dir); err != nil {
		return 1, err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // Pdeathsig is the thread's death.
	err = cmd.Run()
	switch exit, ended := errors.AsType[*exec.ExitError](err); {
	case errors.Is(err, syscall.EPERM), ended && exit.ExitCode() == exitUnable:
		whyNot = "this machine does not let root prepare namespaces"
		return m.Run(), nil
	case ended && exit.ExitCode() > 0:
		return exit.ExitCode(), nil
	}
	return 0, err
}

// unable says what is missing; empty if nothing is.
func unable() string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "it takes Linux and root, for namespaces and users"
	}
	for _, program := range []string{"bash", "cp", "curl", "git", "ip", "make", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	if exec.Command("git", "-c", "safe.directory=*", "rev-parse").Run() != nil {
		return "this is no git repository, of which the documents' clone would be one"
	}
	return ""
}

// prepare fills the sandbox's directory: programs in bin, and in source a
// repository of this tree as it is, changes that are not committed included.
func prepare(dir string) error {
	// Other users run programs from it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	paths, err := lab.Binaries(ctx, os.Stderr)
	if err != nil {
		return err
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	bin, source := filepath.Join(dir, "bin"), filepath.Join(dir, "source")
	fmt.Fprintln(os.Stderr, "building kuberelay (a first build compiles client-go: 1 to 3 minutes)")
	return bash(ctx, root, `
mkdir -m 0755 "$1" "$2"
cp "$3" "$1/kubectl"
# As make build does, so that the documents' own builds find most of it cached.
CGO_ENABLED=0 go build -trimpath -o "$1/kuberelay" ./cmd/kuberelay
git -c safe.directory='*' ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
	if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | xargs -0 cp --parents -t "$2"
cd "$2"
git init -q
git add -A
git -c user.name=nobody -c user.email=nobody@localhost commit -q -m tree`, bin, source, paths.Kubectl)
}

// bash runs a script with arguments.
func bash(ctx context.Context, dir, script string, args ...string) error {
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.TrimSpace(script), err, out)
	}
	return nil
}
