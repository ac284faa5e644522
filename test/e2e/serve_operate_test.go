package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// TestServeUnixSocket kills the daemon, whose sockets stay behind, and starts
// another one at the same paths; then one that would take them from it.
func TestServeUnixSocket(t *testing.T) {
	alice := people(t, "alice")[0]
	s := startServe(t, setup{clients: []string{alice.client("reader")}})
	check(t, s.cmd.Process.Kill())
	<-s.ended
	s.ended <- nil // for the cleanup
	if _, err := os.Lstat(s.socket); err != nil {
		t.Fatalf("no stale socket: %v", err)
	}
	if r := s.operate("status"); r.code != 4 || !strings.Contains(r.stderr, "admin.sock") {
		t.Errorf("status of a daemon that is dead: %+v, want exit code 4", r)
	}
	s.start(t)
	works := func() {
		t.Helper()
		s.byUser(alice).mustKubectl("", "get", "--raw", "/version")
	}
	works()

	thief := filepath.Join(s.dir, "thief.yaml")
	text := strings.ReplaceAll(s.text(), filepath.Join(s.dir, "admin.sock"), filepath.Join(s.dir, "thief.sock"))
	check(t, os.WriteFile(thief, []byte(text), 0o600))
	before, err := os.Stat(s.socket)
	check(t, err)
	r := runKuberelay(t, "serve", "--config="+thief)
	if r.code != 1 || !strings.Contains(r.stderr, s.socket) || !strings.Contains(r.stderr, "another process answers on it") {
		t.Errorf("a second daemon at the same socket: %+v, want exit code 1 and the reason", r)
	}
	if after, err := os.Stat(s.socket); err != nil || !os.SameFile(before, after) {
		t.Errorf("the socket is another one now: %v", err)
	}
	works()
	if r := s.operate("status"); r.code != 0 {
		t.Errorf("status: %+v", r)
	}
}

// TestServeKill kills one of three servers under a mixed load of two clients.
func TestServeKill(t *testing.T) {
	restored(t)
	all := people(t, "alice", "bob")
	s := startServe(t, setup{clients: []string{all[0].client("all"), all[1].client("all")}})
	asBob := s.byToken(all[1])
	namespace := asBob.namespace()
	var loads []*load
	var waits sync.WaitGroup
	for _, p := range all {
		l := &load{relay: s.byToken(p), namespace: namespace, run: fmt.Sprintf("%s-%d", p.name, time.Now().UnixNano())}
		loads = append(loads, l)
	}
	victim := asBob.bound()
	for _, l := range loads {
		waits.Go(l.start(loadRate/2, loadTime(t)/2))
	}
	loads[0].awaitRequests(loadRate / 2) // a second of it
	check(t, victim.Kill())
	took := s.awaitState(victim.Address(), "DOWN", 10*time.Second)
	t.Logf("%s was DOWN %v after kill -9", victim.Address(), took)
	waits.Wait()
	for _, l := range loads {
		l.checkReads(t)
		l.checkCreates(t)
	}
}

// daemonStatus is part of `kuberelay status -o json`.
type daemonStatus struct {
	Clusters []struct {
		Name      string
		Upstreams []struct {
			ID       string
			Draining bool
			Streams  int
		}
	}
	Clients []struct {
		Name     string
		Watches  int
		Revoked  bool
		LastSeen time.Time
	}
}

func (s *served) status() (d daemonStatus) {
	s.t.Helper()
	check(s.t.(*testing.T), json.Unmarshal([]byte(s.must("status", "-o=json")), &d))
	return d
}

// draining are the servers that the status calls so.
func (d daemonStatus) draining() (ids []string) {
	for _, c := range d.Clusters {
		for _, u := range c.Upstreams {
			if u.Draining {
				ids = append(ids, u.ID)
			}
		}
	}
	return ids
}

// TestServeDrain takes one server after another out of use, and lets them in
// again.
func TestServeDrain(t *testing.T) {
	all := people(t, "alice", "bob")
	s := startServe(t, setup{clients: []string{all[0].client("all"), all[1].client("all")}})
	asBob := s.byToken(all[1])
	victim := asBob.bound()
	records := s.record()

	// usedBy sends requests of both clients and returns the servers that had them.
	usedBy := func() map[string]int {
		t.Helper()
		used := map[string]int{}
		for i := range 40 {
			code, header, body, err := s.byToken(all[i%2]).request("GET", "/api/v1/namespaces/default/pods", "")
			if err != nil || code != 200 {
				t.Fatalf("HTTP %d %v %s", code, err, body)
			}
			used[records.own(header.Get("Audit-Id")).Annotations["kuberelay/upstream"]]++
		}
		return used
	}
	if used := usedBy(); used[victim.Address()] == 0 {
		t.Fatalf("requests went to %v, and not to %s, to which bob is bound", used, victim.Address())
	}
	const watched = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=0"
	watch := asBob.openWatch(watched)
	defer watch.Body.Close()
	if at := records.serverOf(watch); at != victim {
		t.Fatalf("the watch is at %s, want it at %s, to which bob is bound", at.Address(), victim.Address())
	}

	cause := time.Now()
	if out := s.must("drain", "lab", victim.Address()); !strings.Contains(out, victim.Address()+" of cluster lab is draining") {
		t.Errorf("drain says %q", out)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(watch.Body).ReadString(0)
		ended <- err
	}()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		t.Fatal("the watch goes on 10 s after the drain")
	}
	took := time.Since(cause)
	t.Logf("the watch ended %v after the drain", took)
	if took > time.Second {
		t.Errorf("the watch ended %v after the drain, want 1 s at most", took)
	}
	records.closedBy(t, "bob", "drain", 1, cause)
	anew := asBob.openWatch(watched)
	defer anew.Body.Close()
	if records.serverOf(anew) == victim {
		t.Errorf("the watch that began anew is at %s, which is drained", victim.Address())
	}
	if used := usedBy(); used[victim.Address()] != 0 {
		t.Errorf("requests went to %v, %s among them, which is drained", used, victim.Address())
	}
	if got := s.status().draining(); len(got) != 1 || got[0] != victim.Address() {
		t.Errorf("status says that %v are draining, want %s", got, victim.Address())
	}
	if r := s.operate("status"); r.code != 0 || !strings.Contains(r.stdout, "READY,DRAINING") {
		t.Errorf("status with a server drained: %+v, want exit code 0, and to see it", r)
	}

	// The others in its place: all goes to the one that is let in again.
	s.must("undrain", "lab", victim.Address())
	for _, server := range cluster.Servers {
		if server != victim {
			s.must("drain", "lab", server.Address())
		}
	}
	if used := usedBy(); len(used) != 1 || used[victim.Address()] != 40 {
		t.Errorf("requests went to %v, want all at %s", used, victim.Address())
	}
	for _, server := range cluster.Servers {
		s.must("undrain", "lab", server.Address())
	}
	if got := s.status().draining(); got != nil {
		t.Errorf("status says that %v are draining, want none", got)
	}
}

// serverOf is the API server that has the request of an answer on record.
func (r *records) serverOf(resp *http.Response) *lab.Server {
	r.t.Helper()
	e := r.server(resp.Header.Get("Audit-Id"))
	for _, s := range cluster.Servers {
		if s.AuditLogFile() == e.File {
			return s
		}
	}
	r.t.Fatalf("%s is no API server's audit log", e.File)
	return nil
}

// TestServeOperatorsCommands holds the exit codes to what is documented.
func TestServeOperatorsCommands(t *testing.T) {
	alice := people(t, "alice")[0]
	s := startServe(t, setup{clients: []string{alice.client("reader")}})
	id := cluster.Servers[0].Address()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"check"}, 0, ""},
		{[]string{"status"}, 0, id},
		{[]string{"drain", "lab", "10.0.0.1:6443"}, 1, `there is no upstream "10.0.0.1:6443" in cluster lab; there is`},
		{[]string{"drain", "lba", id}, 1, `there is no cluster "lba"; there is lab`},
		{[]string{"drain", "lab"}, 2, "UPSTREAM is missing"},
		{[]string{"undrain", "lab", id}, 0, "is used again"},
		{[]string{"revoke", "mallory"}, 1, `there is no client "mallory"; there is alice`},
		{[]string{"revoke"}, 2, "CLIENT is missing"},
		{[]string{"revoke", "alice", "--for=1h"}, 0, "Client alice is refused until"},
		{[]string{"status"}, 0, "for 59m"},
		{[]string{"revoke", "alice", "--lift"}, 0, "may call again"},
		{[]string{"reload"}, 0, "nothing changed"},
	} {
		if r := s.operate(c.args...); r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.want) {
			t.Errorf("kuberelay %s: %+v, want exit code %d and %q", strings.Join(c.args, " "), r, c.code, c.want)
		}
	}
	if r := runKuberelay(t, "status", "--admin="+strings.TrimPrefix(s.Admin, "http://")); r.code != 0 || !strings.Contains(r.stdout, id) {
		t.Errorf("status by the admin address: %+v", r)
	}
	if r := runKuberelay(t, "status", "--control-socket="+filepath.Join(s.dir, "none.sock")); r.code != 4 {
		t.Errorf("status of nobody: %+v, want exit code 4", r)
	}

	// What an operator decided outlives the process.
	s.must("revoke", "alice")
	s.must("drain", "lab", id)
	check(t, s.cmd.Process.Signal(syscall.SIGTERM))
	if err := <-s.ended; err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	s.ended <- nil // for the cleanup
	s.start(t)
	if code, _, body, err := s.byToken(alice).request("GET", "/version", ""); err != nil || code != 401 {
		t.Errorf("alice after the restart: HTTP %d %v %s, want 401", code, err, body)
	}
	if got := s.status().draining(); len(got) != 1 || got[0] != id {
		t.Errorf("%v are draining after the restart, want %s", got, id)
	}
}
