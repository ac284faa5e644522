// Package control lets one process command a lab that runs in another, over a
// Unix socket in the lab's directory.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

const (
	socketName = "lab.sock"
	// Long enough for a server's start on a busy machine.
	actionTimeout = 3 * time.Minute
)

// DefaultDir is the directory of a lab that is started by hand: one for each
// user of the machine.
func DefaultDir() (string, error) {
	cache, err := lab.CacheDir()
	return filepath.Join(cache, "run"), err
}

// Actions are what can be done to a server, in the order of the help text.
var Actions = []struct{ Name, Help string }{
	{"kill", "end it as kill -9 does"},
	{"term", "end it with SIGTERM"},
	{"stop", "freeze it with SIGSTOP"},
	{"cont", "let it go on after stop"},
	{"blackhole", "make all packets of its clients vanish"},
	{"heal", "end the blackhole"},
	{"start", "start it at its old port"},
	{"restart", "term and start"},
}

// Status is what a lab tells of itself.
type Status struct {
	Kubeconfig string   `json:"kubeconfig"`
	Kubectl    string   `json:"kubectl"`
	Etcd       int      `json:"etcd"` // process ID
	Servers    []Server `json:"servers"`
}

// Server is one API server of a Status.
type Server struct {
	URL   string    `json:"url"`
	PID   int       `json:"pid"`
	State lab.State `json:"state"`
}

// StatusOf describes l.
func StatusOf(l *lab.Lab) Status {
	s := Status{Kubeconfig: l.Kubeconfig(), Kubectl: l.Paths.Kubectl, Etcd: l.EtcdPID()}
	for _, server := range l.Servers {
		s.Servers = append(s.Servers, Server{URL: server.URL(), PID: server.PID(), State: server.State()})
	}
	return s
}

// Print writes s as a table.
func (s Status) Print(w io.Writer) {
	fmt.Fprintf(w, "kubeconfig  %s\nkubectl     %s\netcd        pid %d\n", s.Kubeconfig, s.Kubectl, s.Etcd)
	for i, server := range s.Servers {
		fmt.Fprintf(w, "server %d    %s  pid %-8d %s\n", i, server.URL, server.PID, server.State)
	}
}

// Serve takes commands for l until ctx ends. It calls ready, unless nil, when
// it does.
func Serve(ctx context.Context, l *lab.Lab, ready func()) error {
	path := filepath.Join(l.Dir, socketName)
	// The directory is l's alone, so that a socket found there is a leftover.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(l), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if ready != nil {
		ready()
	}
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func handler(l *lab.Lab) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// A client that went away needs no answer.
		_ = json.NewEncoder(w).Encode(StatusOf(l))
	})
	mux.HandleFunc("POST /{action}/{target}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
		defer cancel()
		if err := apply(ctx, l, r.PathValue("action"), r.PathValue("target")); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	mux.HandleFunc("POST /log", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = l.AppendLog(string(b))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	return mux
}

func apply(ctx context.Context, l *lab.Lab, action, target string) error {
	if target == "etcd" {
		return applyEtcd(ctx, l, action)
	}
	i, err := strconv.Atoi(target)
	if err != nil || i < 0 || i >= len(l.Servers) {
		return fmt.Errorf("no server %q: give 0 to %d, or etcd", target, len(l.Servers)-1)
	}
	s := l.Servers[i]
	switch action {
	case "kill":
		return s.Kill()
	case "term":
		return s.Term(ctx)
	case "stop":
		return s.Stop()
	case "cont":
		return s.Cont()
	case "blackhole":
		return s.Blackhole()
	case "heal":
		return s.Heal()
	case "start":
		return s.Start(ctx)
	case "restart":
		return s.Restart(ctx)
	}
	return fmt.Errorf("cannot %s a server", action)
}

func applyEtcd(ctx context.Context, l *lab.Lab, action string) error {
	switch action {
	case "kill":
		l.KillEtcd()
		return nil
	case "stop":
		return l.StopEtcd()
	case "cont":
		return l.ContEtcd()
	case "start":
		return l.StartEtcd(ctx)
	}
	return fmt.Errorf("cannot %s etcd: give kill, stop, cont or start", action)
}

// Command is what a person types to command the lab in dir, up to the action.
func Command(dir string) string {
	command := "go -C test/lab run ./cmd/lab"
	if standard, err := DefaultDir(); err != nil || dir != standard {
		command += " --dir " + dir
	}
	return command
}
