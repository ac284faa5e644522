package systemd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What a host has beside Debian's minimal base.
const (
	suite    = "bookworm"
	included = "systemd,systemd-sysv,dbus,iproute2,procps,curl,ca-certificates,keepalived,logrotate,rpm"
)

// debian returns a tree of Debian with systemd, made once and then kept in the
// user's cache.
func debian(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	directory := filepath.Join(cache, "kuberelay-systemd")
	made := filepath.Join(directory, suite+"-"+strings.ReplaceAll(included, ",", "+"))
	if _, err := os.Stat(made); err == nil {
		return made, nil
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", err
	}
	fmt.Fprintln(os.Stderr, "making a tree of Debian with debootstrap: one to two minutes, then cached in", directory)
	unfinished, err := os.MkdirTemp(directory, "unfinished-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(unfinished)
	out, err := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+included, suite, unfinished).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("debootstrap: %w\n%s", err, out)
	}
	// MkdirTemp's mode would keep users other than root out of the whole tree.
	if err := os.Chmod(unfinished, 0o755); err != nil {
		return "", err
	}
	return made, os.Rename(unfinished, made)
}
