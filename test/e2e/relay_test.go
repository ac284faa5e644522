package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// relay is one kuberelay process.
type relay struct {
	t     testing.TB
	cmd   *exec.Cmd
	URL   string // of the listener
	Admin string // of the admin server
	log   *logBuffer
	ended chan error
	as    *caller // who calls; nil: anybody, with nothing to identify by
}

// logBuffer keeps a process's standard error and lets tests wait for a line.
type logBuffer struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (b *logBuffer) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	close(b.more)
	b.more = make(chan struct{})
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

// wait returns the first line for which match is true, as soon as it is there.
func (b *logBuffer) wait(ctx context.Context, match func(string) bool) (string, error) {
	seen := 0
	for {
		b.mu.Lock()
		lines, more := b.lines[seen:], b.more
		seen = len(b.lines)
		b.mu.Unlock()
		for _, line := range lines {
			if match(line) {
				return line, nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// startRelay runs `kuberelay proxy` on free ports and waits until it serves.
func startRelay(t testing.TB, args ...string) *relay {
	t.Helper()
	r, stdout := launch(t, append([]string{"proxy", "--port=0", "--admin-address=127.0.0.1:0", "--log-format=json"}, args...)...)
	line, ok := <-stdout
	addr, found := strings.CutPrefix(line, "Starting to serve on ")
	if !ok || !found {
		t.Fatalf("kuberelay does not start: stdout %q, stderr:\n%s", line, r.log)
	}
	r.URL = "http://" + addr
	r.Admin = r.adminURL()
	return r
}

// launch runs kuberelay until the test ends, and returns the first lines of its
// standard output. Where the process ends before, they end.
func launch(t testing.TB, args ...string) (*relay, <-chan string) {
	t.Helper()
	return launchCommand(t, exec.Command(kuberelay, args...))
}

// launchCommand is launch of a command that becomes kuberelay.
func launchCommand(t testing.TB, cmd *exec.Cmd) (*relay, <-chan string) {
	t.Helper()
	cmd.Env = append(os.Environ(), "KUBECONFIG=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, cmd: cmd, log: &logBuffer{more: make(chan struct{})}, ended: make(chan error, 1)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			r.log.add(lines.Text())
		}
	})
	first := make(chan string, 16) // more than there are listeners
	readers.Go(func() {
		defer close(first)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			select {
			case first <- lines.Text():
			default: // of no interest
			}
		}
	})
	go func() {
		readers.Wait()
		r.ended <- cmd.Wait()
	}()
	t.Cleanup(r.stop)
	return r, first
}

// adminURL is where the admin server says that it listens.
func (r *relay) adminURL() string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	line, err := r.log.wait(ctx, func(l string) bool { return strings.Contains(l, `"admin server listening"`) })
	if err != nil {
		r.t.Fatalf("the admin server's address is not logged:\n%s", r.log)
	}
	var entry struct {
		Address string `json:"address"`
	}
	if err := json.Unmarshal([]byte(line), &entry); err != nil {
		r.t.Fatal(err)
	}
	return "http://" + entry.Address
}

// stop ends the process in order, if it still runs, and shows its log when
// the test failed.
func (r *relay) stop() {
	select {
	case <-r.ended:
	default:
		_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may just have ended
		select {
		case <-r.ended:
		case <-time.After(20 * time.Second):
			_ = r.cmd.Process.Kill()
			r.t.Errorf("kuberelay did not end within 20 s of SIGTERM")
		}
	}
	if r.t.Failed() {
		r.t.Logf("kuberelay's log:\n%s", r.log)
	}
}

// upstream is one line of /api/v1/status.
type upstream struct {
	ID, State, Source, Reason string
	Since                     time.Time
	Weight                    float64
	Streams, InFlight         int
}

func (r *relay) upstreams() (map[string]upstream, error) {
	resp, err := http.Get(r.Admin + "/api/v1/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var status struct {
		Clusters []struct{ Upstreams []upstream }
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		return nil, err
	}
	all := make(map[string]upstream)
	for _, c := range status.Clusters {
		for _, u := range c.Upstreams {
			all[u.ID] = u
		}
	}
	return all, nil
}

// await polls the status until ok is true of it, and returns how long that took.
func (r *relay) await(what string, within time.Duration, ok func(map[string]upstream) bool) time.Duration {
	r.t.Helper()
	start := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := r.upstreams()
		if err == nil && ok(all) {
			return time.Since(start)
		}
		if time.Since(start) > within {
			r.t.Fatalf("%s: not within %v; status %+v, %v", what, within, all, err)
		}
		<-tick.C
	}
}

func (r *relay) awaitState(id, state string, within time.Duration) time.Duration {
	r.t.Helper()
	return r.await(id+" "+state, within, func(all map[string]upstream) bool { return all[id].State == state })
}

// awaitAllReady waits until every one of the servers is READY.
func (r *relay) awaitAllReady(ids []string, within time.Duration) {
	r.t.Helper()
	r.await("all READY", within, func(all map[string]upstream) bool {
		for _, id := range ids {
			if all[id].State != "READY" {
				return false
			}
		}
		return true
	})
}

// request sends one request without any retry.
func (r *relay) request(method, path, body string) (int, http.Header, []byte, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, r.URL+path, reader)
	if err != nil {
		return 0, nil, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.GetBody = nil // net/http must not send it twice
	}
	resp, err := r.do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, b, err
}

// caller is as whom a test calls a shared listener.
type caller struct {
	http    *http.Client
	token   string
	kubectl func(ctx context.Context, args ...string) *exec.Cmd
}

// do sends a request as whoever calls.
func (r *relay) do(req *http.Request) (*http.Response, error) {
	if r.as == nil {
		return client.Do(req)
	}
	if r.as.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.as.token)
	}
	return r.as.http.Do(req)
}

// kubectlCommand is the lab's kubectl, as whoever calls.
func (r *relay) kubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	if r.as != nil {
		return r.as.kubectl(ctx, args...)
	}
	cmd := exec.CommandContext(ctx, kubectlPath, append([]string{"--server=" + r.URL, "--cache-dir=" + cacheDir}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HOME="+cacheDir)
	return cmd
}

// client keeps connections for the load of the tests.
var client = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// kubectl runs the lab's kubectl against the relay and returns its output.
func (r *relay) kubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := r.kubectlCommand(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

func (r *relay) mustKubectl(stdin string, args ...string) string {
	r.t.Helper()
	out, err := r.kubectl(stdin, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// buildKuberelay compiles the binary under test.
func buildKuberelay(dir string) (string, error) {
	bin := filepath.Join(dir, "kuberelay")
	cmd := exec.Command("go", "build", "-o", bin, "./cmd/kuberelay")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kuberelay: %w\n%s", err, out)
	}
	return bin, nil
}
