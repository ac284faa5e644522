package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/internal/fakemanager"
)

// stub is a daemon of which only what the service manager hears matters.
type stub struct {
	status    admin.Status
	addresses map[string]net.Addr
}

func (s stub) Status() admin.Status { return s.status }

func (s stub) Addr(listener string) net.Addr { return s.addresses[listener] }

func upstreams(states ...string) (us []admin.UpstreamStatus) {
	for _, s := range states {
		us = append(us, admin.UpstreamStatus{State: s})
	}
	return us
}

func TestSentenceForTheServiceManager(t *testing.T) {
	prod := admin.ClusterStatus{Upstreams: upstreams("READY", "DOWN", "READY")}
	refused := &admin.ConfigStatus{LastReload: &admin.ReloadStatus{Error: "line 1\nline 2"}}
	for want, s := range map[string]admin.Status{
		"0/0 API servers ready":               {},
		"2/3 API servers ready":               {Clusters: []admin.ClusterStatus{prod}},
		"3/4 API servers ready in 2 clusters": {Clusters: []admin.ClusterStatus{prod, {Upstreams: upstreams("READY")}}},
		"2/3 API servers ready, 1/2 peers":    {Clusters: []admin.ClusterStatus{prod}, Peers: []admin.PeerStatus{{Self: true, State: admin.PeerAlive}, {State: admin.PeerAlive}, {State: admin.PeerDead}}},
		"2/3 API servers ready; the last reload was refused, see kuberelay status": {Clusters: []admin.ClusterStatus{prod}, Config: refused},
	} {
		if got := (pulse{stub{status: s}}).sentence(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestOneListenerThatAnswersIsAPulse(t *testing.T) {
	alive := httptest.NewServer(http.NotFoundHandler())
	defer alive.Close()
	hung, err := net.Listen("tcp", "127.0.0.1:0") // its queue accepts, nobody else does
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	known := map[string]net.Addr{"alive": alive.Listener.Addr(), "hung": hung.Addr(), "gone": nil}
	for _, c := range []struct {
		name      string
		listeners []string
		want      string
	}{
		{"all hang", []string{"hung"}, "no answer in time"},
		{"one answers", []string{"hung", "alive"}, ""},
		{"a reload took one away", []string{"gone"}, "listener gone is gone"},
		{"a reload took one of two away", []string{"gone", "alive"}, ""},
	} {
		var s stub
		s.addresses = known
		for _, name := range c.listeners {
			s.status.Listeners = append(s.status.Listeners, admin.ListenerStatus{Name: name})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := pulse{s}.check(ctx)
		cancel()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// messages receives what a process tells its service manager: the first line of
// each message.
func messages(t *testing.T) (socket string, next func() string) {
	socket, whole := fakemanager.Listen(t)
	return socket, func() string {
		t.Helper()
		first, _, _ := strings.Cut(whole(), "\n")
		return first
	}
}

func TestServeTellsTheServiceManager(t *testing.T) {
	directory := t.TempDir()
	config := filepath.Join(directory, "config.yaml")
	for path, content := range map[string]string{
		config: strings.ReplaceAll(strings.Replace(checkedConfig, "127.0.0.1:8001", "127.0.0.1:0", 1), "DIR", directory),
		// Nobody answers there: clusters are no reason not to be ready.
		directory + "/kubeconfig": strings.Replace(checkedKubeconfig, "10.0.0.1:6443", "127.0.0.1:1", 1),
		directory + "/token":      "secret",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket, next := messages(t)
	cmd := command(t, "kuberelay", "serve", "--config="+config)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=600000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const feed = "WATCHDOG=1"
	other := func() string {
		for {
			if m := next(); m != feed {
				return m
			}
		}
	}
	got := []string{other(), other()}
	for next() != feed { // and what is told of the cluster
	}
	for _, step := range []struct {
		signal syscall.Signal
		hear   int
	}{{syscall.SIGHUP, 2}, {syscall.SIGTERM, 2}} {
		if err := cmd.Process.Signal(step.signal); err != nil {
			t.Fatal(err)
		}
		for range step.hear {
			got = append(got, other())
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if audit, err := os.ReadFile(directory + "/audit.log"); err != nil || len(audit) > 0 {
		t.Errorf("the watchdog's requests are in the audit log (%v):\n%s", err, audit)
	}
	want := []string{"READY=1", "STATUS=0/1 API servers ready", "RELOADING=1", "READY=1", "STOPPING=1", "STATUS=Stopping: requests in flight have 10s to end"}
	if !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestServeLeavesTheReasonOfItsEnd(t *testing.T) {
	socket, next := messages(t)
	cmd := command(t, "kuberelay", "serve", "--config=/no/such/file")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	if got := execute(t, cmd); got.code != exitFailure {
		t.Errorf("exit code %d, want %d", got.code, exitFailure)
	}
	if got, want := next(), "STATUS=error: /no/such/file: cannot be read: no such file or directory"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	var m serviceManager // without one
	m.died(errors.New("x"))
}
