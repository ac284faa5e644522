package proxy

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth/identify"
)

func requestAt(h *Handler, t *testing.T, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/version", nil)
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestHandlerOfBeforeHeedsTheGenerationOfNow: between a reload's publish and the update of the listener (or with a
// handler chosen just before), the old handler meets the new generation: what
// the listener does not accept any more still identifies, and what is opened
// so is never looked at again.
func TestHandlerOfBeforeHeedsTheGenerationOfNow(t *testing.T) {
	var now atomic.Pointer[Access]
	var with withheld
	now.Store(accessFor(t, &with, func(a *Access, _ *Grant) {
		a.Listeners["shared"] = identify.NewAccepted([]identify.Method{identify.OIDC})
	}))
	h := NewHandler(Options{Listener: "shared", Registry: &Registry{}, Recorder: &noted{}, Shared: &SharedOptions{
		Access: &now, Cluster: "test", Hosts: []string{"localhost"},
		Peer: func(*http.Request) *identify.Peer { return &identify.Peer{Loopback: true} },
	}})
	if w := requestAt(h, t, gateToken); w.Code != 401 || with.asked.Load() != 0 {
		t.Errorf("answer %d %s, the credential asked for %d times", w.Code, w.Body, with.asked.Load())
	}
}

// TestRefusalDuringAReloadIsOnRecord: a refusal that began before a reload writes its event to the log that
// the reload has closed: it is lost.
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
	if w := requestAt(h, t, "wrong"); w.Code != 401 {
		t.Fatal(w.Code)
	}
	raw, _ := os.ReadFile(filepath.Join(dir, "after"))
	if n := strings.Count(string(raw), "\n"); n != 1 {
		t.Errorf("%d events", n)
	}
}
