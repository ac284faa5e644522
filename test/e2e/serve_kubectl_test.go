package e2e

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// TestServeKubectl runs what kubectl can do, at the TLS listener and with a
// token from the Unix socket, for a client whose policy allows it.
func TestServeKubectl(t *testing.T) {
	pod := newPod(t)
	all := people(t, "bob", "alice")
	bob, alice := all[0], all[1]
	s := startServe(t, setup{clients: []string{
		bob.client("all", "allowImpersonation: {users: [alice], groups: [dev]}"), alice.client("reader"),
	}})
	r := s.byUser(bob)
	ns := "--namespace=" + r.namespace()

	t.Run("apply, get, patch and delete", func(t *testing.T) {
		for _, step := range []struct {
			stdin string
			args  []string
			want  string
		}{
			{deployment, []string{"apply", "-f", "-", ns}, "deployment.apps/web created"},
			{deployment, []string{"apply", "--server-side", "--force-conflicts", "-f", "-", ns}, "deployment.apps/web serverside-applied"},
			{"", []string{"patch", "deployment", "web", "-p", `{"spec":{"replicas":3}}`, ns}, "deployment.apps/web patched"},
			{"", []string{"get", "deployment", "web", "-o", "jsonpath={.spec.replicas}", ns}, "3"},
			{"", []string{"delete", "deployment", "web", ns}, `deployment.apps "web" deleted`},
			{"", []string{"auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}"}, `bob ["ops"`},
		} {
			if out := r.mustKubectl(step.stdin, step.args...); !strings.Contains(out, step.want) {
				t.Errorf("kubectl %s: %q, want %q in it", strings.Join(step.args, " "), out, step.want)
			}
		}
	})

	t.Run("get -w", func(t *testing.T) {
		w := r.startKubectl("get", "configmaps", "-w", ns)
		r.mustKubectl("", "create", "configmap", "first", ns)
		w.expect(t, "first")
		r.mustKubectl("", "create", "configmap", "second", ns)
		w.expect(t, "second")
	})

	t.Run("logs -f", func(t *testing.T) {
		l := r.startKubectl("logs", "-f", "--tail=1", pod)
		for _, line := range []string{"one-" + rand.Text(), "two-" + rand.Text()} {
			check(t, cluster.AppendLog(line+"\n"))
			l.expect(t, line)
		}
	})

	t.Run("exec", func(t *testing.T) { checkExec(t, r, pod) })

	t.Run("cp, there and back", func(t *testing.T) {
		sent := []byte(rand.Text() + strings.Repeat("bytes of a file\n", 50_000))
		from, back := filepath.Join(bob.home, "sent"), filepath.Join(bob.home, "back")
		check(t, os.WriteFile(from, sent, 0o644))
		pods := t.TempDir() // commands in pods are processes of this machine, which the lab's user runs
		r.mustKubectl("", "cp", from, "default/"+pod+":"+filepath.Join(pods, "file"))
		if got, err := os.ReadFile(filepath.Join(pods, "file")); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("the pod got %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
		}
		r.mustKubectl("", "cp", "default/"+pod+":"+filepath.Join(pods, "file"), back)
		if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes came back, %v, want the %d that were sent", len(got), err, len(sent))
		}
	})

	t.Run("port-forward", func(t *testing.T) {
		p := r.startKubectl("port-forward", "pod/"+pod, ":7")
		address := strings.Fields(p.next(t))[2] // Forwarding from 127.0.0.1:PORT -> 7
		conn, err := net.DialTimeout("tcp", address, 10*time.Second)
		check(t, err)
		defer conn.Close()
		check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		sent := []byte(strings.Repeat(rand.Text(), 5_000))
		go func() {
			if _, err := conn.Write(sent); err != nil {
				t.Errorf("write: %v", err)
			}
		}()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("the echo differs: %v", err)
		}
	})

	t.Run("--as what the configuration allows", func(t *testing.T) {
		records := s.record()
		const selector = "as=alice"
		r.mustKubectl("", "get", "pods", "-l", selector, "--as=alice", "--as-group=dev")
		ofAlice := func(e lab.AuditEvent) bool { return strings.Contains(e.RequestURI, "as%3Dalice") }
		records.await("the request as alice", func() bool { return records.find(ofAlice).AuditID != "" })
		own := records.find(ofAlice)
		if own.User.Username != "bob" || own.ImpersonatedUser == nil || own.ImpersonatedUser.Username != "alice" {
			t.Errorf("kuberelay has on record %+v for %+v, want bob for alice", own.User, own.ImpersonatedUser)
		}
		isAs(t, records.server(own.AuditID), alice)
		if _, err := r.kubectl("", "get", "nodes", "--as=alice", "--as-group=dev"); err == nil || !strings.Contains(err.Error(), `User "alice" cannot list resource "nodes"`) {
			t.Errorf("get nodes as alice: %v, want RBAC's refusal of alice", err)
		}
	})

	t.Run("--as anything else", func(t *testing.T) {
		records := s.record()
		for _, args := range [][]string{
			{"--as=mallory"}, {"--as=alice", "--as-group=system:masters"}, {"--as=system:admin", "--as-group=system:masters"},
			{"--as=alice", "--as-uid=1"}, {"--as=alice", "--as-user-extra=a=b"},
		} {
			if out, err := r.kubectl("", append([]string{"get", "pods", "-l", "as=refused"}, args...)...); err == nil || !strings.Contains(err.Error(), "Forbidden") {
				t.Errorf("%v: %q, %v, want it forbidden", args, out, err)
			}
		}
		if out, err := s.byUser(alice).kubectl("", "get", "pods", "-l", "as=refused", "--as=bob"); err == nil {
			t.Errorf("alice as bob: %q, want it forbidden", out)
		}
		records.settle()
		for _, e := range records.serverEvents {
			if strings.Contains(e.RequestURI, "as%3Drefused") {
				t.Errorf("it reached an API server: %+v", e)
			}
		}
	})
}

// next returns kubectl's next line.
func (p *process) next(t *testing.T) string {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case line, ok := <-p.lines:
		if ok {
			return line
		}
		t.Fatalf("kubectl has ended: %s", p.errs)
	case <-limit.C:
		t.Fatal("kubectl says nothing")
	}
	return ""
}
