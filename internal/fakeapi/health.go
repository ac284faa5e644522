package fakeapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// health is which checks fail, by endpoint without its slash.
type health map[string][]string

// The checks of a kube-apiserver 1.37, in its order.
var (
	livezChecks  = []string{"ping", "log", "etcd", "poststarthook/start-apiserver-admission-initializer", "poststarthook/rbac/bootstrap-roles", "autoregister-completion"}
	readyzChecks = []string{"ping", "log", "etcd", "etcd-readiness", "informer-sync", "poststarthook/start-apiserver-admission-initializer", "poststarthook/rbac/bootstrap-roles", "autoregister-completion", "shutdown"}
)

// FailReadyz makes the named checks of /readyz fail; without names all pass
// again. A check the real server does not have is added.
func (s *Server) FailReadyz(checks ...string) { s.fail("readyz", checks) }

// FailLivez does the same for /livez and /healthz.
func (s *Server) FailLivez(checks ...string) { s.fail("livez", checks) }

func (s *Server) fail(endpoint string, checks []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := health{endpoint: checks}
	for name, failing := range s.failing {
		if name != endpoint {
			next[name] = failing
		}
	}
	s.failing = next
}

func isHealth(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first == "readyz" || first == "livez" || first == "healthz"
}

// serveHealth answers as k8s.io/apiserver/pkg/server/healthz does, to the byte.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	endpoint, single, isSingle := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	checks, switches := readyzChecks, "readyz"
	if endpoint != "readyz" {
		checks, switches = livezChecks, "livez"
	}
	s.mu.Lock()
	failing := s.failing[switches]
	s.mu.Unlock()
	for _, name := range failing {
		if !slices.Contains(checks, name) {
			checks = append(slices.Clone(checks), name)
		}
	}

	query := r.URL.Query()
	var lines strings.Builder
	failed := false
	for _, name := range checks {
		switch {
		case isSingle && name != single:
		case slices.Contains(query["exclude"], name):
			fmt.Fprintf(&lines, "[+]%s excluded: ok\n", name)
		case slices.Contains(failing, name):
			failed = true
			fmt.Fprintf(&lines, "[-]%s failed: reason withheld\n", name)
		default:
			fmt.Fprintf(&lines, "[+]%s ok\n", name)
		}
	}
	switch {
	case isSingle && lines.Len() == 0:
		http.NotFound(w, r)
	case isSingle && failed:
		http.Error(w, "internal server error: reason withheld", http.StatusInternalServerError)
	case failed:
		http.Error(w, lines.String()+endpoint+" check failed", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if _, verbose := query["verbose"]; !verbose || isSingle {
			_, _ = fmt.Fprint(w, "ok")
			return
		}
		_, _ = fmt.Fprintf(w, "%s%s check passed\n", lines.String(), endpoint)
	}
}
