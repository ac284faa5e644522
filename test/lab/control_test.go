package lab_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
	"github.com/kuberelay/kuberelay/test/lab/internal/control"
)

// startControl serves the shared lab's socket until the test ends.
func startControl(t *testing.T) *control.Client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	l := lab.Shared()
	ready := make(chan struct{})
	go func() { served <- control.Serve(ctx, l, func() { close(ready) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-served:
		t.Fatal(err)
	}
	return control.NewClient(l.Dir)
}

func TestControlActsOnServers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	client := startControl(t)
	for _, step := range []struct {
		action string
		want   lab.State
	}{
		{"stop", lab.Stopped},
		{"cont", lab.Running},
		{"blackhole", lab.Blackholed},
		{"heal", lab.Running},
		{"kill", lab.Dead},
		{"start", lab.Running},
	} {
		if err := client.Do(ctx, step.action, "2"); err != nil {
			t.Fatalf("%s: %v", step.action, err)
		}
		status, err := client.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := status.Servers[2].State; got != step.want {
			t.Errorf("after %s the server is %s, want %s", step.action, got, step.want)
		}
		if server := lab.Shared().Servers[2]; status.Servers[2].PID != server.PID() || status.Servers[2].URL != server.URL() {
			t.Errorf("after %s: %+v, want pid %d, URL %s", step.action, status.Servers[2], server.PID(), server.URL())
		}
	}
}

func TestControlRefusesWhatItCannotDo(t *testing.T) {
	client := startControl(t)
	for _, c := range []struct{ action, target, want string }{
		{"kill", "3", `no server "3": give 0 to 2, or etcd`},
		{"kill", "-1", `no server "-1"`},
		{"kill", "all", `no server "all"`},
		{"explode", "0", "cannot explode a server"},
		{"blackhole", "etcd", "cannot blackhole etcd"},
		{"start", "0", "it is running as process"},
	} {
		err := client.Do(t.Context(), c.action, c.target)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.action, c.target, err, c.want)
		}
	}
}

func TestControlAppendsToTheLog(t *testing.T) {
	client := startControl(t)
	const line = "from another process"
	if err := client.Log(t.Context(), line); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(lab.Shared().Dir, "pods", "pod.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "stdout F "+line+"\n") {
		t.Errorf("the log lacks the line: %q", b)
	}
}

func TestControlSaysThatNoLabRuns(t *testing.T) {
	dir := t.TempDir()
	err := control.NewClient(dir).Do(t.Context(), "kill", "1")
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "does it run?") {
		t.Errorf("kill: %v", err)
	}
}
