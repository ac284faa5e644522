package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func createPod(t *testing.T, name string) {
	t.Helper()
	if err := shared.CreatePod(testContext(t), name); err != nil {
		t.Fatal(err)
	}
}

func TestNodesAreReadyAndPodsRun(t *testing.T) {
	ctx := testContext(t)
	createPod(t, "runs")
	nodes := mustRun(t, kubectl(ctx, shared, "get", "nodes", "--no-headers"))
	if got := len(regexp.MustCompile(`(?m)^node-\d+ +Ready `).FindAllString(nodes, -1)); got != 2 {
		t.Errorf("%d nodes are Ready, want 2:\n%s", got, nodes)
	}
	if out := mustRun(t, kubectl(ctx, shared, "get", "pod", "runs", "-o", "jsonpath={.status.phase}")); out != "Running" {
		t.Errorf("the pod's phase is %q", out)
	}
}

func TestExecRunsACommand(t *testing.T) {
	ctx := testContext(t)
	createPod(t, "exec")
	if out := mustRun(t, kubectl(ctx, shared, "exec", "exec", "--", "echo", "hello", "pod")); out != "hello pod\n" {
		t.Errorf("echo said %q", out)
	}
	withInput := kubectl(ctx, shared, "exec", "-i", "exec", "--", "tr", "a-z", "A-Z")
	withInput.Stdin = strings.NewReader("from stdin\n")
	if out := mustRun(t, withInput); out != "FROM STDIN\n" {
		t.Errorf("tr said %q", out)
	}
	out, err := kubectl(ctx, shared, "exec", "exec", "--", "sh", "-c", "echo problem >&2; exit 7").CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 7 || !strings.Contains(string(out), "problem") {
		t.Errorf("exit 7: %v, %q", err, out)
	}
}

func TestLogsFollowWhatIsAppended(t *testing.T) {
	ctx := testContext(t)
	createPod(t, "logs")
	for _, verb := range [][]string{{"logs", "-f", "logs"}, {"attach", "logs"}} {
		cmd := kubectl(ctx, shared, verb...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := shared.StartChild(cmd); err != nil {
			t.Fatal(err)
		}
		// Again and again, because a follower may not have begun at the first.
		marker := fmt.Sprintf("line for %s", verb[0])
		found := make(chan bool, 1)
		go func() {
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if lines.Text() == marker {
					found <- true
					return
				}
			}
			found <- false
		}()
		tick := time.NewTicker(200 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case ok := <-found:
				if !ok {
					t.Errorf("kubectl %v ended without the line %q", verb, marker)
				}
				waiting = false
			case <-tick.C:
				if err := shared.AppendLog(marker); err != nil {
					t.Fatal(err)
				}
			case <-ctx.Done():
				t.Fatalf("kubectl %v: no line %q", verb, marker)
			}
		}
		tick.Stop()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Errorf("kubectl %v ended by itself", verb)
		}
	}
}

func TestPortForwardCarriesBytes(t *testing.T) {
	ctx := testContext(t)
	createPod(t, "forward")
	cmd := kubectl(ctx, shared, "port-forward", "pod/forward", ":7")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.StartChild(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("kubectl port-forward ended by itself")
		}
	}()
	// "Forwarding from 127.0.0.1:PORT -> 7".
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	sent := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	go func() {
		// What does not arrive is missed below.
		_, _ = io.WriteString(c, sent)
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != sent {
		t.Error("the bytes that came back differ from those sent")
	}
}
