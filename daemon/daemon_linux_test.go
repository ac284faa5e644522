package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/gossip"
)

// TestNewThatFailsLeavesNothingOpen has gossip without its key file, which is
// found out once the audit log is open.
func TestNewThatFailsLeavesNothingOpen(t *testing.T) {
	dir := t.TempDir()
	cfg := configuration(servers(t, 1))
	cfg.Audit = audit.Config{File: filepath.Join(dir, "audit"), Level: audit.LevelMetadata, OnFailure: audit.OnFailureBlock}
	cfg.Gossip = gossip.Config{
		BindAddress: "127.0.0.1:0", AllowedCIDRs: []string{"127.0.0.0/8"}, SecretKeyFiles: []string{filepath.Join(dir, "none")},
	}
	if _, err := daemon.New(cfg, daemon.Options{}); err == nil || !strings.Contains(err.Error(), "gossip") {
		t.Fatalf("new: %v, want an error about gossip", err)
	}
	if _, err := os.Stat(cfg.Audit.File); err != nil {
		t.Fatalf("the audit log was never open: %v", err)
	}
	const open = "/proc/self/fd"
	files, err := os.ReadDir(open)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if path, err := os.Readlink(filepath.Join(open, f.Name())); err == nil && strings.HasPrefix(path, dir) {
			t.Errorf("%s is still open", path)
		}
	}
}
