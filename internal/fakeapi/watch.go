package fakeapi

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Watch is a watch endpoint under the test's control. What it sends goes to all
// watchers that are connected at that moment.
type Watch struct {
	t       testing.TB
	mu      sync.Mutex
	open    map[*watcher]struct{} // guarded by mu
	changed chan struct{}         // guarded by mu; closed when a watcher comes or goes
}

// watcher is one client. Its frames wait in a channel for its handler.
type watcher struct {
	frames chan []byte
	cut    chan struct{}
}

const maxFrames = 4096 // waiting for one watcher

// Watch makes "GET path" a watch endpoint for requests with watch=1 or
// watch=true; others go to list, which may be nil.
func (s *Server) Watch(path string, list http.Handler) *Watch {
	w := &Watch{t: s.t, open: map[*watcher]struct{}{}, changed: make(chan struct{})}
	if list == nil {
		list = http.HandlerFunc(s.builtin)
	}
	s.Handle("GET "+path, fault(func(ex *exchange, rw http.ResponseWriter, r *http.Request) {
		if v := r.URL.Query().Get("watch"); v != "1" && v != "true" {
			list.ServeHTTP(rw, r)
			return
		}
		w.serve(ex, rw, r)
	}))
	return w
}

func (w *Watch) serve(ex *exchange, rw http.ResponseWriter, r *http.Request) {
	me := &watcher{frames: make(chan []byte, maxFrames), cut: make(chan struct{})}
	// First, so that who has the answer's head gets every event from then on.
	w.update(func() { w.open[me] = struct{}{} })
	defer w.update(func() { delete(w.open, me) })
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(http.StatusOK)
	flush(rw)
	for {
		select {
		case frame, ok := <-me.frames:
			if !ok {
				return
			}
			if _, err := rw.Write(frame); err != nil {
				return
			}
			flush(rw)
		case <-me.cut:
			ex.conn.reset()
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (w *Watch) update(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Send sends an event: {"type":TYPE,"object":OBJECT} and a newline.
func (w *Watch) Send(kind string, object any) {
	w.t.Helper()
	frame, err := json.Marshal(struct {
		Type   string `json:"type"`
		Object any    `json:"object"`
	}{kind, object})
	if err != nil {
		w.t.Errorf("fakeapi: watch event: %v", err)
		return
	}
	w.Raw(append(frame, '\n'))
}

// Raw sends bytes, which need not be a whole frame.
func (w *Watch) Raw(b []byte) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for me := range w.open {
		select {
		case me.frames <- b:
		default:
			w.t.Errorf("fakeapi: a watcher has %d unread frames", maxFrames)
		}
	}
}

// End lets all watches end cleanly, after what was sent, as a server does at
// its time limit.
func (w *Watch) End() {
	w.update(func() {
		for me := range w.open {
			close(me.frames)
			delete(w.open, me)
		}
	})
}

// Cut resets the connections of all watches.
func (w *Watch) Cut() {
	w.update(func() {
		for me := range w.open {
			close(me.cut)
			delete(w.open, me)
		}
	})
}

// Await waits until exactly n watchers are connected. The test fails when that
// does not come about within 10 s.
func (w *Watch) Await(n int) {
	w.t.Helper()
	deadline := time.NewTimer(awaitTimeout)
	defer deadline.Stop()
	for {
		w.mu.Lock()
		open, changed := len(w.open), w.changed
		w.mu.Unlock()
		if open == n {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			w.t.Fatalf("fakeapi: %d watchers after %v, want %d", open, awaitTimeout, n)
		}
	}
}
