package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asProgram makes this test binary be kuberelay.
const asProgram = "KUBERELAY_TEST_AS_PROGRAM"

// deadline is how long a test waits for what should happen at once.
const deadline = 20 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	// Of a signal that is caught here the program's disposition is the default
	// one, even where these tests run under nohup.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	goleak.VerifyTestMain(m)
}

// command prepares the program under a name, in an environment that has no
// kubeconfig and no cluster around it.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, executable, args...)
	cmd.Args[0] = name
	cmd.Env = []string{
		asProgram + "=1", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "GOCOVERDIR=" + t.TempDir(),
		"GORACE=atexit_sleep_ms=0", // the race detector would let each process linger for a second
	}
	return cmd
}

type result struct {
	code           int
	stdout, stderr string
}

// execute runs the program to its end.
func execute(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	code := exitCodeOf(t, cmd.Run())
	return result{code, out.String(), err.String()}
}

func exitCodeOf(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode() // -1: ended by a signal
	}
	t.Fatal(err)
	return 0
}

// process is a program that serves.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string // from its first line
	rest    <-chan string
	stderr  *watched
}

// serveWith starts kuberelay proxy and waits for its first line.
func serveWith(t *testing.T, args ...string) *process {
	t.Helper()
	return serveIn(t, nil, args...)
}

// serveIn is [serveWith] in an environment that has more.
func serveIn(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	cmd := command(t, "kuberelay", append([]string{"proxy"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	return serve(t, cmd)
}

// serve starts a command that is kuberelay proxy, and waits for its first line.
func serve(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, stderr: &watched{}}
	cmd.Stderr = p.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, rest := make(chan string, 1), make(chan string, 1)
	p.rest = rest
	go func() {
		r := bufio.NewReader(stdout)
		line, _ := r.ReadString('\n')
		first <- line
		more, _ := io.ReadAll(r)
		rest <- string(more)
	}()
	line := receive(t, "the first line", first)
	address, ok := strings.CutPrefix(line, "Starting to serve on ")
	if !ok || !strings.HasSuffix(line, "\n") {
		t.Fatalf("first line %q, want Starting to serve on ADDRESS; stderr:\n%s", line, p.stderr)
	}
	p.address = strings.TrimSuffix(address, "\n")
	return p
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns how the program ended, and what it wrote after its first line.
func (p *process) wait() result {
	p.t.Helper()
	rest := receive(p.t, "the end of standard output", p.rest)
	return result{exitCodeOf(p.t, p.cmd.Wait()), rest, p.stderr.String()}
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(deadline):
		t.Fatalf("no %s after %v", what, deadline)
	}
	var none T
	return none
}

// watched is a buffer of which one can wait for a text.
type watched struct {
	mu      sync.Mutex
	buf     bytes.Buffer         // guarded by mu
	waiting map[string]chan bool // guarded by mu
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buf.Write(p)
	for text, found := range w.waiting {
		if bytes.Contains(w.buf.Bytes(), []byte(text)) {
			found <- true
			delete(w.waiting, text)
		}
	}
	return n, err
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// await waits until text has been written.
func (w *watched) await(t *testing.T, text string) {
	t.Helper()
	found := make(chan bool, 1)
	w.mu.Lock()
	if bytes.Contains(w.buf.Bytes(), []byte(text)) {
		found <- true
	} else {
		if w.waiting == nil {
			w.waiting = make(map[string]chan bool)
		}
		w.waiting[text] = found
	}
	w.mu.Unlock()
	receive(t, text, found)
}
