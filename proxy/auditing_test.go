package proxy

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth/identify"
)

// TestRefusalDuringAReloadIsOnRecord has a reload replace and close the audit
// log while a request is refused: the event is in the new one.
func TestRefusalDuringAReloadIsOnRecord(t *testing.T) {
	dir := t.TempDir()
	open := func(name string) *audit.Log {
		l, err := audit.Open(audit.Config{File: filepath.Join(dir, name)}, audit.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var now atomic.Pointer[Access]
	var with withheld
	before, after := accessFor(t, &with, nil), accessFor(t, &with, nil)
	before.Audit, after.Audit = open("before"), open("after")
	defer after.Audit.Close()
	now.Store(before)
	h := NewHandler(Options{Listener: "shared", Registry: &Registry{}, Recorder: &noted{}, Shared: &SharedOptions{
		Access: &now, Cluster: "test", Hosts: []string{"localhost"},
		Peer: func(*http.Request) *identify.Peer {
			now.Store(after)
			_ = before.Audit.Close()
			return &identify.Peer{Loopback: true}
		},
	}})
	if w := requestAt(t, h, "wrong"); w.Code != 401 {
		t.Fatal(w.Code)
	}
	raw, _ := os.ReadFile(filepath.Join(dir, "after"))
	if n := strings.Count(string(raw), "\n"); n != 1 {
		t.Errorf("%d events", n)
	}
}
