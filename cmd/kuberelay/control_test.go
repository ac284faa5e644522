package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/admin"
)

// operated is a process that operators ask: its control socket is real.
type operated struct {
	socket string
	done   chan string
}

func newOperated(t *testing.T, status admin.Status, err error) *operated {
	t.Helper()
	o := &operated{socket: filepath.Join(t.TempDir(), "admin.sock"), done: make(chan string, 10)}
	control, newErr := admin.NewControl(admin.ControlOptions{
		Options: admin.Options{
			Status: func() admin.Status { return status }, Ready: func() error { return nil },
			Registry: admin.NewMetrics(admin.Build{}).Registry(),
		},
		Operations: admin.Operations{
			Reload: func(context.Context, bool) ([]string, error) {
				o.done <- "reload"
				return []string{"client bob added", "listener team changed"}, err
			},
			Drain: func(cluster, upstream string, on bool) error {
				o.done <- fmt.Sprintf("drain %s %s %v", cluster, upstream, on)
				return err
			},
			Revoke: func(client string, until time.Time, reason string) (int, error) {
				o.done <- fmt.Sprintf("revoke %s %v %q", client, time.Until(until).Round(time.Hour), reason)
				return len(client) - 1, err
			},
			Unrevoke: func(client string) error { o.done <- "unrevoke " + client; return err },
		},
	})
	if newErr != nil {
		t.Fatal(newErr)
	}
	l, listenErr := net.Listen("unix", o.socket)
	if listenErr != nil {
		t.Fatal(listenErr)
	}
	served := make(chan error, 1)
	go func() { served <- control.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(control.Shutdown(context.Background()), <-served); err != nil {
			t.Errorf("control socket: %v", err)
		}
	})
	return o
}

func (o *operated) execute(t *testing.T, args ...string) result {
	t.Helper()
	return execute(t, command(t, "kuberelay", append(args, "--control-socket", o.socket)...))
}

func TestOperatorsCommands(t *testing.T) {
	o := newOperated(t, admin.Status{}, nil)
	for _, tc := range []struct {
		args []string
		done string
		want string // all of standard output, or a regular expression: ^…$
	}{
		{[]string{"reload"}, "reload", "Reloaded:\n  client bob added\n  listener team changed\n"},
		{[]string{"drain", "prod", "a:6443"}, "drain prod a:6443 true", "a:6443 of cluster prod is draining: it gets no new requests while another can be used.\n"},
		{[]string{"undrain", "prod", "a:6443"}, "drain prod a:6443 false", "a:6443 of cluster prod is used again.\n"},
		{[]string{"revoke", "a", "--for=24h"}, `revoke a 24h0m0s ""`, `^Client a is refused until \d{4}-\d\d-\d\dT[\d:]{8}\S+; nothing of it was open\.\n$`},
		{[]string{"revoke", "al", "--for=1h", "--reason=lost"}, `revoke al 1h0m0s "lost"`, `^.*; 1 request or stream of it was ended\.\n$`},
		{[]string{"revoke", "alice", "--for=1h"}, `revoke alice 1h0m0s ""`, `^.*; 4 requests and streams of it were ended\.\n$`},
		{[]string{"revoke", "alice", "--lift"}, "unrevoke alice", "Client alice may call again.\n"},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			r := o.execute(t, tc.args...)
			if r.code != 0 || r.stderr != "" || !same(tc.want, r.stdout) {
				t.Errorf("%+v, want 0 and %q", r, tc.want)
			}
			if got := receive(t, "operation", o.done); got != tc.done {
				t.Errorf("did %q, want %q", got, tc.done)
			}
		})
	}
	if text := sentence(admin.Revoked{Client: "alice"}); text != "Client alice is refused until it is lifted; nothing of it was open." {
		t.Errorf("without a time: %q", text)
	}
}

func TestOperatorsCommandsThatAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		err  error
		want string
	}{
		{"a file with problems", []string{"reload"}, errors.Join(errors.New("k.yaml:3: a"), errors.New("k.yaml:4: b")), "error: k.yaml:3: a\nerror: k.yaml:4: b\n"},
		{"a name that is not there", []string{"drain", "prod", "x"}, &admin.NotFoundError{Kind: "cluster", Name: "prod", Have: []string{"dev"}}, "error: there is no cluster \"prod\"; there is dev\n"},
		{"a client that is not there", []string{"revoke", "eve"}, &admin.NotFoundError{Kind: "client", Name: "eve"}, "error: there is no client \"eve\"\n"},
		{"a revocation that cannot be lifted", []string{"revoke", "eve", "--lift"}, errors.New("state file: disk full"), "error: state file: disk full\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOperated(t, admin.Status{}, tc.err)
			if r := o.execute(t, tc.args...); r != (result{exitFailure, "", tc.want}) {
				t.Errorf("%+v, want 1 and %q", r, tc.want)
			}
		})
	}
}

func TestNotRunningIsExitCode4(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{{"status"}, {"status", "--watch"}, {"reload"}, {"drain", "c", "u"}, {"undrain", "c", "u"}, {"revoke", "a"}} {
		r := execute(t, command(t, "kuberelay", append(args, "--control-socket", socket)...))
		if r.code != exitNotRunning || r.stdout != "" || !strings.HasPrefix(r.stderr, "error: kuberelay is not running: there is no socket "+socket+": ") {
			t.Errorf("%q: %+v, want exit code 4 and why", args, r)
		}
	}
}

func TestTheConfigurationFileNamesTheSocket(t *testing.T) {
	o := newOperated(t, admin.Status{}, nil)
	dir := t.TempDir()
	for _, tc := range []struct {
		name, file string
		code       int
		want       string // in standard error
	}{
		{"a file that has become invalid otherwise", "admin: {controlSocket: " + o.socket + "}\nclients: [{nonsense: 1}]\n", 0, ""},
		{"a file without a socket", "admin: {address: '127.0.0.1:1'}\n", 1, "names no admin.controlSocket"},
		{"a file that is no YAML", "admin: {", 1, "error: --config: " + filepath.Join(dir, "k.yaml") + ": yaml: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(dir, "k.yaml")
			write(t, path, tc.file)
			r := execute(t, command(t, "kuberelay", "reload", "--config", path))
			if r.code != tc.code || !strings.Contains(r.stderr, tc.want) {
				t.Errorf("%+v, want %d and %q", r, tc.code, tc.want)
			}
		})
	}
	r := execute(t, command(t, "kuberelay", "reload", "--config", filepath.Join(dir, "none")))
	if want := "error: --config: open " + filepath.Join(dir, "none") + ": no such file or directory\n"; r != (result{1, "", want}) {
		t.Errorf("%+v, want %q", r, want)
	}
	if r := o.execute(t, "reload", "--config=/nonexistent"); r.code != 0 {
		t.Errorf("%+v, want --control-socket to win", r)
	}
}

func TestOperatorsCommandsComplete(t *testing.T) {
	o := newOperated(t, admin.Status{
		Clusters: []admin.ClusterStatus{
			{Name: "prod", Upstreams: []admin.UpstreamStatus{{ID: "a:6443"}, {ID: "b:6443"}}},
			{Name: "dev", Upstreams: []admin.UpstreamStatus{{ID: "c:6443"}}},
		},
		Clients: []admin.ClientStatus{{Name: "alice"}, {Name: "bob", Revoked: true}},
	}, nil)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"drain"}, "prod\ndev\n:4\n"},
		{[]string{"undrain", "prod"}, "a:6443\nb:6443\n:4\n"},
		{[]string{"drain", "prod", "a:6443"}, ":4\n"},
		{[]string{"revoke"}, "alice\n:4\n"},
		{[]string{"revoke", "--lift"}, "bob\n:4\n"},
		{[]string{"revoke", "alice"}, ":4\n"},
	} {
		args := append([]string{cobra.ShellCompRequestCmd, tc.args[0], "--control-socket", o.socket}, append(tc.args[1:], "")...)
		if r := execute(t, command(t, "kuberelay", args...)); r.stdout != tc.want {
			t.Errorf("%q: %q, want %q", tc.args, r.stdout, tc.want)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if r := execute(t, command(t, "kuberelay", cobra.ShellCompRequestCmd, "drain", "--control-socket", none, "")); r.stdout != ":4\n" {
		t.Errorf("without a process: %q, want nothing", r.stdout)
	}
}
