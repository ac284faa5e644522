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
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
func DefaultDir() string {
	return filepath.Join(os.TempDir(), "kuberelay-lab-"+strconv.Itoa(os.Getuid()))
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

// Serve takes commands for l until ctx ends.
func Serve(ctx context.Context, l *lab.Lab) error {
	path := filepath.Join(l.Dir, socketName)
	// The directory is l's alone, so that a socket found there is a leftover.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
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
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
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

// Client commands the lab whose directory is given.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient returns a client of the lab in dir.
func NewClient(dir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, socketName))
	}
	return &Client{dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Do does one of Actions to a server, by index, or to etcd.
func (c *Client) Do(ctx context.Context, action, target string) error {
	return c.call(ctx, http.MethodPost, "/"+url.PathEscape(action)+"/"+url.PathEscape(target), "", nil)
}

// Log appends a line to the pods' log.
func (c *Client) Log(ctx context.Context, line string) error {
	return c.call(ctx, http.MethodPost, "/log", line, nil)
}

// Status asks the lab how it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, http.MethodGet, "/status", "", &s)
}

func (c *Client) call(ctx context.Context, method, path, body string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("reach the lab in %s (does it run?): %w", c.dir, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(b)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// Command is what a person types to command the lab in dir, up to the action.
func Command(dir string) string {
	command := "go -C test/lab run ./cmd/lab"
	if dir != DefaultDir() {
		command += " --dir " + dir
	}
	return command
}
