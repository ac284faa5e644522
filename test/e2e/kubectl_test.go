package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

func readAllString(resp *http.Response) string {
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(b)
}

// openWatch opens a watch that lasts until its body is closed.
func (r *relay) openWatch(path string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.URL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		r.t.Fatalf("watch %s: HTTP %d", path, resp.StatusCode)
	}
	return resp
}

// TestPaths asks for core and named groups as the README does with curl.
func TestPaths(t *testing.T) {
	r := frontAll(t)
	for path, want := range map[string]string{
		"/version":                   `"gitVersion"`,
		"/api/v1/pods":               `"kind":"PodList"`,
		"/apis/apps/v1/deployments":  `"kind":"DeploymentList"`,
		"/api":                       `"APIVersions"`,
		"/apis":                      `"APIGroupList"`,
		"/openapi/v3":                `"paths"`,
		"/healthz":                   "ok",
		"/api/v1/namespaces/default": `"kind":"Namespace"`,
		"/apis/apps/v1":              `"APIResourceList"`,
		"/api/v1/nodes?limit=1":      `"NodeList"`,
		"/apis/rbac.authorization.k8s.io/v1/clusterroles?resourceVersion=0": `"ClusterRoleList"`,
	} {
		code, _, body, err := r.request("GET", path, "")
		if err != nil || code != 200 || !strings.Contains(strings.ReplaceAll(string(body), " ", ""), want) {
			t.Errorf("GET %s: HTTP %d %v, %.120q, want %s in it", path, code, err, body, want)
		}
	}
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: example.org/web}]
`

// TestKubectl applies, gets, patches and deletes.
func TestKubectl(t *testing.T) {
	r := frontAll(t)
	ns := "--namespace=" + r.namespace()
	for _, step := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{deployment, []string{"apply", "-f", "-", ns}, "deployment.apps/web created"},
		{deployment, []string{"apply", "-f", "-", ns}, "deployment.apps/web unchanged"},
		{deployment, []string{"apply", "--server-side", "--force-conflicts", "-f", "-", ns}, "deployment.apps/web serverside-applied"},
		{"", []string{"get", "deployment", "web", "-o", "jsonpath={.spec.replicas}", ns}, "1"},
		{"", []string{"patch", "deployment", "web", "-p", `{"spec":{"replicas":3}}`, ns}, "deployment.apps/web patched"},
		{"", []string{"get", "deployment", "web", "-o", "jsonpath={.spec.replicas}", ns}, "3"},
		{"", []string{"explain", "deployment.spec.replicas"}, "replicas"},
		{"", []string{"auth", "can-i", "create", "pods", ns}, "yes"},
		{"", []string{"get", "--raw", "/livez"}, "ok"},
		{"", []string{"delete", "deployment", "web", ns}, `deployment.apps "web" deleted`},
	} {
		if out := r.mustKubectl(step.stdin, step.args...); !strings.Contains(out, step.want) {
			t.Errorf("kubectl %s: %q, want %q in it", strings.Join(step.args, " "), out, step.want)
		}
	}
	if _, err := r.kubectl("", "get", "deployment", "web", ns); err == nil || !strings.Contains(err.Error(), "NotFound") {
		t.Errorf("get what was deleted: %v, want NotFound", err)
	}
}

// process is a kubectl that runs while the test goes on.
type process struct {
	*exec.Cmd
	stdin io.WriteCloser
	lines chan string // closed when kubectl has ended
	ended time.Time   // once lines is closed
	errs  *output
}

// output is what a process that still runs has written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (r *relay) startKubectl(args ...string) *process {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	p := &process{Cmd: r.kubectlCommand(ctx, args...), lines: make(chan string, 1024), errs: &output{}}
	p.Stderr = p.errs
	var err error
	if p.stdin, err = p.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		p.ended = time.Now()
	}()
	r.t.Cleanup(func() {
		cancel()
		for range p.lines { // until kubectl is gone
		}
		_ = p.Wait() // killed
	})
	return p
}

// expect reads lines until one has the text.
func (p *process) expect(t *testing.T, text string) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	var seen []string
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("kubectl ended before %q: %q; stderr %s", text, seen, p.errs)
			}
			seen = append(seen, line)
			if strings.Contains(line, text) {
				return
			}
		case <-limit.C:
			t.Fatalf("no %q in %q", text, seen)
		}
	}
}

func TestKubectlGetWatch(t *testing.T) {
	r := frontAll(t)
	ns := "--namespace=" + r.namespace()
	w := r.startKubectl("get", "configmaps", "-w", ns)
	r.mustKubectl("", "create", "configmap", "first", ns)
	w.expect(t, "first")
	r.mustKubectl("", "create", "configmap", "second", ns)
	w.expect(t, "second")
}

func TestKubectlLogsFollow(t *testing.T) {
	r := frontAll(t)
	pod := newPod(t)
	l := r.startKubectl("logs", "-f", pod)
	check(t, cluster.AppendLog("first line of the test\n"))
	l.expect(t, "first line of the test")
	check(t, cluster.AppendLog("second line of the test\n"))
	l.expect(t, "second line of the test")
}

// newPod makes a Running pod in the default namespace.
func newPod(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, cluster.CreatePod(ctx, name))
	return name
}

// TestKubectlExec runs a command without a terminal, and one that reads
// standard input. Both need the request filter relaxed, as with kubectl proxy.
func TestKubectlExec(t *testing.T) {
	pod := newPod(t)
	closed := frontAll(t)
	if out, err := closed.kubectl("", "exec", pod, "--", "echo", "hello"); err == nil {
		t.Errorf("exec passes the default filter: %q", out)
	}
	checkExec(t, frontAll(t, "--reject-paths="), pod)
}

// checkExec runs a command in a pod, one that reads standard input, and one that
// fails.
func checkExec(t *testing.T, r *relay, pod string) {
	t.Helper()
	if out := r.mustKubectl("", "exec", pod, "--", "echo", "hello"); out != "hello\n" {
		t.Errorf("exec: %q, want hello", out)
	}
	sent := strings.Repeat("some bytes of standard input\n", 10_000)
	if out := r.mustKubectl(sent, "exec", "-i", pod, "--", "cat"); out != sent {
		t.Errorf("exec -i cat gave %d bytes back, want the %d that were sent", len(out), len(sent))
	}
	if _, err := r.kubectl("", "exec", pod, "--", "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "exit code 7") {
		t.Errorf("exec of a command that fails: %v, want its exit code", err)
	}
}

// TestKubectlPortForward carries bytes to the pod's echo port and back.
func TestKubectlPortForward(t *testing.T) {
	pod := newPod(t)
	r := frontAll(t)
	p := r.startKubectl("port-forward", "pod/"+pod, ":7")
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	var address string
	select {
	case line := <-p.lines:
		fields := strings.Fields(line) // Forwarding from 127.0.0.1:PORT -> 7
		if len(fields) < 3 {
			t.Fatalf("port-forward says %q; stderr %s", line, p.errs)
		}
		address = fields[2]
	case <-limit.C:
		t.Fatalf("port-forward says nothing; stderr %s", p.errs)
	}
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	sent := []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("bytes"), 10_000)))
	go func() {
		if _, err := conn.Write(sent); err != nil {
			t.Errorf("write: %v", err)
		}
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("the echo differs: %v", err)
	}
}

// discard reads a body to its end and returns its length.
func discard(t *testing.T, resp *http.Response) int64 {
	t.Helper()
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	check(t, err)
	return n
}

// peakMemory is the process's peak resident memory in bytes (proc(5), VmHWM).
func (r *relay) peakMemory() int64 {
	r.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	r.t.Fatal("no VmHWM in /proc")
	return 0
}
