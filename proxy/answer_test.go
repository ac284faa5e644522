package proxy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/auth/identify"
)

// TestFormsThatAreNotProxied wants requests that are for no path of the API
// server to be refused with what is wrong with each, by both kinds of listener.
func TestFormsThatAreNotProxied(t *testing.T) {
	var recorder noted
	var now atomic.Pointer[Access]
	now.Store(accessFor(t, &withheld{}, nil))
	single := NewHandler(Options{Registry: &Registry{}, Recorder: &recorder, APIPrefix: "/"})
	shared := NewHandler(Options{Listener: "shared", Registry: &Registry{}, Recorder: &recorder, Shared: &SharedOptions{
		Access: &now, Cluster: "test", Peer: func(*http.Request) *identify.Peer { return &identify.Peer{} },
	}})
	for _, c := range []struct {
		name    string
		h       *Handler
		method  string
		path    string
		code    int
		message string
	}{
		{"CONNECT", single, http.MethodConnect, "", 405, "CONNECT is not proxied"},
		{"CONNECT, shared", shared, http.MethodConnect, "", 405, "CONNECT is not proxied"},
		{"TRACE", single, http.MethodTrace, "/api", 405, "TRACE is not proxied"},
		{"TRACE, shared", shared, http.MethodTrace, "/api", 405, "TRACE is not proxied"},
		{"GET *", single, http.MethodGet, "*", 400, "the server as a whole"},
		{"GET *, shared", shared, http.MethodGet, "*", 400, "the server as a whole"},
		{"OPTIONS *, shared", shared, http.MethodOptions, "*", 400, "the server as a whole"},
		{"no path, shared", shared, http.MethodGet, "", 400, "has no path"},
		{"OPTIONS of no path, shared", shared, http.MethodOptions, "", 400, "has no path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			recorder.denials = nil
			r := httptest.NewRequestWithContext(t.Context(), c.method, "/", nil)
			r.URL = &url.URL{Path: c.path}
			w := httptest.NewRecorder()
			c.h.ServeHTTP(w, r)
			var status metav1.Status
			if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
				t.Fatal(err)
			}
			if w.Code != c.code || !strings.Contains(status.Message, c.message) {
				t.Errorf("answer %d %q, want %d and %q", w.Code, status.Message, c.code, c.message)
			}
			if allow := w.Header().Get("Allow"); (allow != "") != (c.code == 405) {
				t.Errorf("Allow: %q", allow)
			}
			if len(recorder.denials) != 1 || recorder.denials[0].Reason != deniedMethod {
				t.Errorf("recorded %+v", recorder.denials)
			}
		})
	}
}
