package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// cutWithin is how soon what a client may no longer have open has to end.
const cutWithin = time.Second

// streams are a watch and an exec session that a person has open, both with
// kubectl.
type streams struct {
	name         string
	namespace    string
	watch, shell *process
}

// openStreams opens both, and returns when both carry something.
func openStreams(t *testing.T, r *relay, name, namespace, pod string) *streams {
	t.Helper()
	o := &streams{
		name: name, namespace: namespace,
		watch: r.startKubectl("get", "configmaps", "-w", "-n", namespace),
		shell: r.startKubectl("exec", "-i", pod, "--", "cat"),
	}
	o.alive(t)
	return o
}

// alive fails the test unless both carry something new.
func (o *streams) alive(t *testing.T) {
	t.Helper()
	o.watchAlive(t)
	o.shellAlive(t)
}

func (o *streams) watchAlive(t *testing.T) {
	t.Helper()
	name := strings.ToLower("event-" + rand.Text())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	check(t, cluster.Create(ctx, "/api/v1/namespaces/"+o.namespace+"/configmaps", map[string]any{"metadata": map[string]any{"name": name}}))
	o.watch.expect(t, name)
}

func (o *streams) shellAlive(t *testing.T) {
	t.Helper()
	line := "line-" + rand.Text()
	if _, err := o.shell.stdin.Write([]byte(line + "\n")); err != nil {
		t.Fatalf("the input of %s's exec: %v", o.name, err)
	}
	o.shell.expect(t, line)
}

// endsWithin fails the test unless kubectl ends so soon after the cause.
func (p *process) endsWithin(t *testing.T, what string, cause time.Time) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for open := true; open; {
		select {
		case _, open = <-p.lines:
		case <-limit.C:
			t.Errorf("%s goes on 10 s later", what)
			return
		}
	}
	took := p.ended.Sub(cause)
	t.Logf("%s ended after %v", what, took.Round(time.Millisecond))
	if took > cutWithin || took < 0 {
		t.Errorf("%s ended %v after its cause, want %v at most", what, took, cutWithin)
	}
}

// closedBy waits until kuberelay has on record that n of the client's streams
// were ended for the reason, and fails the test unless that was so soon after
// the cause.
func (r *records) closedBy(t *testing.T, client, reason string, n int, cause time.Time) {
	t.Helper()
	var ended []time.Time
	r.await(reason+" of "+client, func() bool {
		ended = nil
		for _, e := range r.ownEvents {
			if e.Stage == "ResponseComplete" && e.User.Username == client && e.Annotations["kuberelay/close-reason"] == reason {
				ended = append(ended, e.StageTimestamp)
			}
		}
		return len(ended) >= n
	})
	for _, at := range ended {
		took := at.Sub(cause)
		t.Logf("%s: on record %v after the cause", reason, took.Round(time.Millisecond))
		if took > cutWithin {
			t.Errorf("%s: on record %v after the cause, want %v at most", reason, took, cutWithin)
		}
	}
}

// TestServeEndsWhatAClientMayNoLongerHaveOpen takes rights from alice in each
// way there is, while she and bob have a watch and an exec session open. Bob's
// are the same ones from the beginning to the end.
func TestServeEndsWhatAClientMayNoLongerHaveOpen(t *testing.T) {
	pod := newPod(t)
	all := people(t, "alice", "bob")
	alice, bob := all[0], all[1]
	s := startServe(t, setup{clients: []string{alice.client("shell"), bob.client("all")}})
	namespace := s.byToken(bob).namespace()
	ofBob := openStreams(t, s.byToken(bob), "bob", namespace, pod)
	begin := func(t *testing.T) (*streams, *records) {
		t.Helper()
		records := s.record()
		return openStreams(t, s.byToken(alice), "alice", namespace, pod), records
	}
	refused := func(t *testing.T) {
		t.Helper()
		if code, _, body, err := s.byToken(alice).request("GET", "/api/v1/namespaces/default/pods", ""); err != nil || code != 401 {
			t.Errorf("alice asks anew: HTTP %d %v %s, want 401", code, err, body)
		}
	}

	t.Run("revoked", func(t *testing.T) {
		ofAlice, records := begin(t)
		cause := time.Now()
		out := s.must("revoke", "alice", "--reason=laptop stolen")
		ofAlice.watch.endsWithin(t, "the watch", cause)
		ofAlice.shell.endsWithin(t, "the exec", cause)
		if !strings.Contains(out, "2 requests and streams of it were ended") {
			t.Errorf("revoke says %q", out)
		}
		records.closedBy(t, "alice", "revoked", 2, cause)
		refused(t)
		ofBob.alive(t)
		s.must("revoke", "alice", "--lift")
	})

	t.Run("the token expires", func(t *testing.T) {
		alice.expires = time.Now().Add(4 * time.Second).Truncate(time.Second)
		s.setup.clients = []string{alice.client("shell"), bob.client("all")}
		s.reload()
		ofAlice, records := begin(t)
		ofAlice.watch.endsWithin(t, "the watch", alice.expires)
		ofAlice.shell.endsWithin(t, "the exec", alice.expires)
		records.closedBy(t, "alice", "expired", 2, alice.expires)
		refused(t)
		ofBob.alive(t)
		alice.expires = time.Time{}
		s.setup.clients = []string{alice.client("shell"), bob.client("all")}
		s.reload()
	})

	t.Run("removed from the configuration", func(t *testing.T) {
		ofAlice, records := begin(t)
		s.setup.clients = []string{bob.client("all")}
		cause := time.Now()
		s.reload()
		ofAlice.watch.endsWithin(t, "the watch", cause)
		ofAlice.shell.endsWithin(t, "the exec", cause)
		records.closedBy(t, "alice", "removed", 2, cause)
		refused(t)
		ofBob.alive(t)
		s.setup.clients = []string{alice.client("shell"), bob.client("all")}
		s.reload()
	})

	t.Run("the policy is narrowed", func(t *testing.T) {
		ofAlice, records := begin(t)
		s.setup.clients = []string{alice.client("reader"), bob.client("all")}
		cause := time.Now()
		s.reload()
		ofAlice.shell.endsWithin(t, "the exec", cause)
		records.closedBy(t, "alice", "policy", 1, cause)
		ofAlice.watchAlive(t)
		if out, err := s.byToken(alice).kubectl("", "exec", pod, "--", "echo", "hello"); err == nil {
			t.Errorf("alice can still exec: %q", out)
		}
		ofBob.alive(t)
	})

	bobs := s.record()
	check(t, ofBob.shell.stdin.Close())
	bobs.await("the end of bob's exec", func() bool {
		return bobs.find(func(e lab.AuditEvent) bool {
			return e.User.Username == "bob" && e.ObjectRef != nil && e.ObjectRef.Subresource == "exec"
		}).AuditID != ""
	})
}

// TestServeReloadsUndisturbed adds a client, then tries a configuration with
// mistakes, while alice and bob have a watch and an exec session open.
func TestServeReloadsUndisturbed(t *testing.T) {
	pod := newPod(t)
	all := people(t, "alice", "bob", "dora")
	alice, bob, dora := all[0], all[1], all[2]
	s := startServe(t, setup{clients: []string{alice.client("shell"), bob.client("all")}})
	namespace := s.byToken(bob).namespace()
	open := []*streams{
		openStreams(t, s.byToken(alice), "alice", namespace, pod),
		openStreams(t, s.byToken(bob), "bob", namespace, pod),
	}
	undisturbed := func(t *testing.T) {
		t.Helper()
		for _, o := range open {
			o.alive(t)
		}
	}
	doras := func(t *testing.T, want int) {
		t.Helper()
		if code, _, body, err := s.byToken(dora).request("GET", "/version", ""); err != nil || code != want {
			t.Errorf("dora: HTTP %d %v %s, want %d", code, err, body, want)
		}
	}
	loaded := func(t *testing.T, want string) {
		t.Helper()
		_, series, err := s.metrics("kuberelay_config_last_reload_successful")
		check(t, err)
		if series["kuberelay_config_last_reload_successful"] != want {
			t.Errorf("the metric of the last reload: %v, want %s", series, want)
		}
	}
	good := func(t *testing.T) {
		t.Helper()
		undisturbed(t)
		doras(t, 200)
		loaded(t, "1")
		if status := s.operate("status"); status.code != 0 {
			t.Errorf("status after a good reload: %+v", status)
		}
	}

	t.Run("a client more", func(t *testing.T) {
		doras(t, 401)
		s.setup.clients = append(s.setup.clients, dora.client("reader"))
		s.write(t)
		if out := s.must("reload"); !strings.Contains(out, "client dora added") || strings.Contains(out, "alice") || strings.Contains(out, "bob") {
			t.Errorf("reload says %q, want that dora was added, and nothing of others", out)
		}
		good(t)
	})

	t.Run("a configuration with mistakes changes nothing", func(t *testing.T) {
		text := s.text()
		bad := strings.Replace(text, "policy: reader", "policy: raeder", 1)
		bad = strings.Replace(bad, "stateFile:", "stateFiel:", 1)
		s.writeText(t, bad)
		want := []string{
			lineOf(bad, "policy: raeder") + ": clients[2].grants[0].policy: ",
			lineOf(bad, "stateFiel:") + ": stateFiel: ",
		}
		for _, command := range []string{"reload", "check"} {
			r := s.operate(command)
			if r.code != 1 {
				t.Errorf("%s of a bad file: exit code %d, want 1: %+v", command, r.code, r)
			}
			for _, problem := range want {
				if all := r.stdout + r.stderr; !strings.Contains(all, s.config()+":"+problem) {
					t.Errorf("%s of a bad file: %q, want %s:%s in it", command, all, s.config(), problem)
				}
			}
		}
		undisturbed(t)
		doras(t, 200)
		loaded(t, "0")
		if status := s.operate("status"); status.code != 3 || !strings.Contains(status.stdout+status.stderr, "the last reload was refused") {
			t.Errorf("status after a bad reload: %+v, want exit code 3 and the reason", status)
		}
	})

	t.Run("mended", func(t *testing.T) {
		s.reload()
		good(t)
	})

	// What removes dora and brings her back is the file, and a signal.
	awaitDora := func(t *testing.T, want int) {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for limit := time.Now().Add(10 * time.Second); ; <-tick.C {
			code, _, _, err := s.byToken(dora).request("GET", "/version", "")
			check(t, err)
			if code == want {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("dora: HTTP %d 10 s later, want %d", code, want)
			}
		}
	}
	t.Run("by a change of the file", func(t *testing.T) {
		s.setup.clients = s.setup.clients[:2]
		s.write(t)
		awaitDora(t, 401)
		undisturbed(t)
	})
	t.Run("by SIGHUP", func(t *testing.T) {
		s.setup.clients = append(s.setup.clients, dora.client("reader"))
		s.write(t)
		check(t, s.cmd.Process.Signal(syscall.SIGHUP))
		awaitDora(t, 200)
		good(t)
	})
}

// lineOf is the number of the first line with the text.
func lineOf(file, text string) string {
	i := slices.IndexFunc(strings.Split(file, "\n"), func(line string) bool { return strings.Contains(line, text) })
	return fmt.Sprint(i + 1)
}
