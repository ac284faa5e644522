package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// What all tests share.
var (
	cluster  *lab.Lab
	broker   string // a token that may impersonate
	bridge   *network
	tree     string  // of files, of which hosts are copies
	packages [2]pair // two versions, the older first
)

// pair are the packages of one version.
type pair struct{ deb, rpm string }

func TestMain(m *testing.M) {
	if why := unable(); why != "" {
		fmt.Println("the tests on hosts with systemd do not run here:", why)
		return
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// unable says what is missing to run hosts; empty if nothing is.
func unable() string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "they need Linux and root"
	}
	for _, program := range []string{"debootstrap", "systemd-nspawn", "nsenter", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed: apt-get install debootstrap systemd-container iproute2 util-linux"
		}
	}
	return ""
}

func run(m *testing.M) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Minute)
	defer cancel()
	if tree, err = debian(ctx); err == nil {
		err = boots(ctx, tree)
	}
	if err != nil {
		if os.Getenv("KUBERELAY_SYSTEMD_OPTIONAL") != "" {
			fmt.Println("skipped: no host with systemd can be had here:", err)
			return 0, nil
		}
		return 1, err
	}
	if packages, err = twoPackages(ctx); err != nil {
		return 1, err
	}
	if bridge, err = newNetwork(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, bridge.close()) }()
	cluster, err = lab.Start(ctx, lab.Options{Log: os.Stderr})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if broker, err = cluster.CreateBroker(ctx); err != nil {
		return 1, err
	}
	for i, s := range cluster.Servers {
		if err := bridge.forward(apiPort+i, s.Address()); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// boots finds out whether a container of the tree comes up and goes down.
func boots(ctx context.Context, tree string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	nspawn := exec.CommandContext(ctx, "systemd-nspawn", "--quiet", "--directory="+tree, "--volatile=overlay",
		"--register=no", "--keep-unit", "--private-network", "--console=pipe", "--boot", "systemd.unit=poweroff.target")
	nspawn.Cancel = func() error { return nspawn.Process.Signal(syscall.SIGTERM) }
	nspawn.WaitDelay = 10 * time.Second
	if out, err := nspawn.CombinedOutput(); err != nil {
		return fmt.Errorf("systemd-nspawn: %w\n%s", err, out)
	}
	return nil
}

// repository is the root of the product's module.
func repository() (string, error) { return filepath.Abs("../..") }

// twoPackages makes the packages of this tree, as two versions of it.
func twoPackages(ctx context.Context) (made [2]pair, err error) {
	root, err := repository()
	if err != nil {
		return made, err
	}
	for i, version := range []string{"v0.0.1", "v0.0.2"} {
		cmd := exec.CommandContext(ctx, "hack/package.sh", version)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return made, fmt.Errorf("hack/package.sh %s: %w\n%s", version, err, out)
		}
		made[i].deb = filepath.Join(root, "dist", fmt.Sprintf("kuberelay_%s-1_%s.deb", version[1:], runtime.GOARCH))
		machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
		made[i].rpm = filepath.Join(root, "dist", fmt.Sprintf("kuberelay-%s-1.%s.rpm", version[1:], machine))
	}
	return made, nil
}
