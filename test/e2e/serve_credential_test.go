package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestServeCredentials calls the cluster with each kind of credential. As whom,
// the API server's audit log tells.
func TestServeCredentials(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, cluster.CreateServiceAccount(ctx, "robot", "system:aggregate-to-view"))
	dir := t.TempDir()
	plugin := filepath.Join(dir, "plugin")
	script(t, plugin, `printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$TOKEN"`)

	var c setup
	want := map[string]string{} // client: user in the cluster
	all := people(t, "of-certificate", "of-exec", "of-kubeconfig", "of-request")
	add := func(p *person, credential, user string) {
		c.credentials = append(c.credentials, credential)
		c.clients = append(c.clients, p.clientWith(p.name, "", "reader"))
		want[p.name] = user
	}
	add(all[0], certificateCredential(t, all[0].name, "dora", "dev"), "dora")
	add(all[1], fmt.Sprintf("{name: %s, exec: {command: %s, env: {TOKEN: %q}}}", all[1].name, plugin, cluster.Token("alice")), "alice")
	add(all[2], fmt.Sprintf("{name: %s, kubeconfig: {path: %s, context: lab}}", all[2].name, cluster.UserKubeconfig("bob", 1)), "bob")
	c.credentials = append(c.credentials, certificateCredential(t, "minter", "minter", "system:masters"))
	add(all[3], fmt.Sprintf("{name: %s, serviceAccountToken: {credential: minter, cluster: lab, namespace: default, serviceAccount: robot, ttl: 10m}}", all[3].name),
		"system:serviceaccount:default:robot")
	s := startServe(t, c)
	r := s.record()
	for _, p := range all {
		as := s.byToken(p)
		code, header, body, err := as.request("GET", "/api/v1/namespaces/default/pods", "")
		if err != nil || code != 200 || !strings.Contains(string(body), "PodList") {
			t.Errorf("%s: HTTP %d %v %.300s", p.name, code, err, body)
			continue
		}
		if e := r.server(header.Get("Audit-Id")); e.User.Username != want[p.name] || e.ImpersonatedUser != nil {
			t.Errorf("%s reached the API server as %+v for %+v, want %s", p.name, e.User, e.ImpersonatedUser, want[p.name])
		}
		if own := r.own(header.Get("Audit-Id")); own.User.Username != p.name || own.Annotations["kuberelay/credential"] != p.name {
			t.Errorf("kuberelay has on record %+v, want client and credential %s", own, p.name)
		}
	}
}

// TestServeHungPluginHurtsItsOwnClientOnly has a plugin that never answers. It
// is killed with all that it has started.
func TestServeHungPluginHurtsItsOwnClientOnly(t *testing.T) {
	all := people(t, "hung", "alice")
	hung, alice := all[0], all[1]
	dir := t.TempDir()
	plugin, pids := filepath.Join(dir, "plugin"), filepath.Join(dir, "pids")
	script(t, plugin, fmt.Sprintf("sleep 1000 & echo $$ $! >> %s; wait", pids))
	const timeout = 2 * time.Second
	s := startServe(t, setup{
		credentials: []string{fmt.Sprintf("{name: slow, exec: {command: %s, timeout: %s}}", plugin, timeout)},
		clients:     []string{hung.clientWith("slow", "", "reader"), alice.client("reader")},
	})
	type end struct {
		code int
		body string
		took time.Duration
		err  error
	}
	asHung, asAlice := s.byToken(hung), s.byToken(alice)
	ask := func(r *relay) end {
		begun := time.Now()
		code, _, body, err := r.request("GET", "/api/v1/namespaces/default/pods", "")
		return end{code, string(body), time.Since(begun), err}
	}
	waits := make(chan end, 1)
	go func() { waits <- ask(asHung) }()
	running := started(t, pids)
	for _, pid := range running {
		if !runs(pid) {
			t.Errorf("process %d of the plugin does not run", pid)
		}
	}
	others, slowest := 0, time.Duration(0)
	var ended end
	for waiting := true; waiting; {
		select {
		case ended = <-waits:
			waiting = false
		default:
			e := ask(asAlice)
			if e.err != nil || e.code != 200 {
				t.Fatalf("alice, while the plugin hangs: %+v", e)
			}
			others, slowest = others+1, max(slowest, e.took)
		}
	}
	t.Logf("%d requests of alice's while the plugin hung, the slowest %v; the hung client got HTTP %d after %v", others, slowest, ended.code, ended.took)
	if others < 10 || slowest > timeout/2 {
		t.Errorf("alice got %d answers, the slowest after %v", others, slowest)
	}
	if ended.err != nil || ended.code != 503 || !strings.Contains(ended.body, `credential \"slow\"`) {
		t.Errorf("the client of the hung plugin: %+v, want 503 that names the credential", ended)
	}
	if ended.took > timeout+2*time.Second {
		t.Errorf("it took %v, want the plugin's timeout of %v", ended.took, timeout)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(5 * time.Second); slices.ContainsFunc(running, runs); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("processes of the plugin go on: %v", running)
		}
	}
}

// script writes an executable shell script.
func script(t *testing.T, path, body string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700))
}

// started waits for the first line of process IDs in a file.
func started(t *testing.T, path string) (pids []int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(10 * time.Second); ; <-tick.C {
		text, err := os.ReadFile(path)
		if line, _, whole := strings.Cut(string(text), "\n"); whole {
			for field := range strings.FieldsSeq(line) {
				pid, err := strconv.Atoi(field)
				check(t, err)
				pids = append(pids, pid)
			}
			return pids
		}
		if time.Now().After(limit) {
			t.Fatalf("the plugin was not started: %v", err)
		}
	}
}

// runs reports whether a process is there and no zombie, which nobody may have
// waited for yet.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The state follows the command name: proc_pid_stat(5).
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
