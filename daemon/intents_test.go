package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func openTestIntents(t *testing.T, path string) *intents {
	t.Helper()
	i, err := openIntents(path, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestIntentsOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	until := time.Now().Add(time.Hour).Truncate(time.Second)
	first := openTestIntents(t, path)
	for _, err := range []error{
		first.drain("prod", "10.0.0.1:6443", true),
		first.drain("prod", "10.0.0.2:6443", true),
		first.drain("prod", "10.0.0.2:6443", false),
		first.revoke("alice", time.Time{}, "laptop stolen"),
		first.revoke("bob", until, ""),
		first.revoke("carol", time.Time{}, ""),
		first.unrevoke("carol"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again := openTestIntents(t, path)
	if !again.isDrained("prod", "10.0.0.1:6443") || again.isDrained("prod", "10.0.0.2:6443") || again.isDrained("other", "10.0.0.1:6443") {
		t.Errorf("drained: %+v", again.state.Drained)
	}
	revoked := again.revocations()
	if len(revoked) != 2 || !revoked["alice"].IsZero() || !revoked["bob"].Equal(until) {
		t.Errorf("revoked: %v, want alice until it is lifted and bob until %v", revoked, until)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestRevocationsThatAreOverAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	i := openTestIntents(t, path)
	if err := i.revoke("alice", time.Now().Add(-time.Second), ""); err != nil {
		t.Fatal(err)
	}
	if err := i.revoke("bob", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	if revoked := openTestIntents(t, path).revocations(); len(revoked) != 1 {
		t.Errorf("revoked: %v, want bob alone", revoked)
	}
}

// TestStateFileThatCannotBeReadIsAnError: who was revoked must not come back
// with a restart because a file was damaged.
func TestStateFileThatCannotBeReadIsAnError(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":                     "{",
		"of another version":          `{"version": 2}`,
		"of no version":               `{}`,
		"cut off in the middle of it": `{"version": 1, "revoked": [{"client": "al`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openIntents(path, zap.NewNop()); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one that names the file", err)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		if _, err := openIntents(t.TempDir(), zap.NewNop()); err == nil {
			t.Error("no error")
		}
	})
}

// TestDecisionThatCannotBeKept: a revocation is in force all the same, and its
// operator is told; what would let somebody in again is not.
func TestDecisionThatCannotBeKept(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "gone")
	i := openTestIntents(t, filepath.Join(directory, "state.json"))
	if err := i.revoke("alice", time.Time{}, ""); !errors.Is(err, errNotKept) || !strings.Contains(err.Error(), "stateFile") {
		t.Errorf("error %v, want one about the state file", err)
	}
	if err := i.unrevoke("alice"); err == nil || errors.Is(err, errNotKept) {
		t.Errorf("lifting it: error %v, want one that says it was not done", err)
	}
	if revoked := i.revocations(); len(revoked) != 1 {
		t.Errorf("revoked: %v, want alice", revoked)
	}
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := i.revoke("alice", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(directory)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files in the directory, want the state file alone (%v)", len(left), err)
	}
}
