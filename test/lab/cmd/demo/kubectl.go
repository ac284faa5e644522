package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// kubectl is a kubectl that talks to kuberelay.
func (d *demo) kubectl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.lab.Paths.Kubectl, append([]string{"--server", d.relay.url}, args...)...)
	cmd.Env = []string{"HOME=" + d.lab.Dir} // nobody's kubeconfig, and a cache of its own
	cmd.WaitDelay = time.Second
	return cmd
}

// output runs cmd; its standard error is part of the error.
func output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

func (d *demo) kubectlGet(ctx context.Context) (string, error) {
	out, err := output(d.kubectl(ctx, "get", "pods", "--no-headers"))
	if err != nil {
		return "", err
	}
	if !regexp.MustCompile(`(?m)^` + demoPod + ` +\d+/\d+ +Running `).MatchString(out) {
		return "", fmt.Errorf("pod %s is not Running: %q", demoPod, out)
	}
	return strings.Join(strings.Fields(out), " "), nil
}

func (d *demo) kubectlExec(ctx context.Context) (string, error) {
	return expect(d.kubectl(ctx, "exec", demoPod, "--", "echo", "hello", "pod"), "hello pod\n")
}

func (d *demo) kubectlExecInput(ctx context.Context) (string, error) {
	cmd := d.kubectl(ctx, "exec", "-i", demoPod, "--", "tr", "a-z", "A-Z")
	cmd.Stdin = strings.NewReader("from here\n")
	return expect(cmd, "FROM HERE\n")
}

func expect(cmd *exec.Cmd, want string) (string, error) {
	out, err := output(cmd)
	if err != nil {
		return "", err
	}
	if out != want {
		return "", fmt.Errorf("it printed %q, want %q", out, want)
	}
	return strings.TrimSpace(out), nil
}

// kubectlWatch starts a watch, creates a pod, and waits for the watch to tell.
func (d *demo) kubectlWatch(ctx context.Context) (string, error) {
	const name = "watched"
	return d.follow(ctx, demoPod, name, func() error { return d.lab.CreatePod(ctx, name) }, "get", "pods", "-w", "--no-headers")
}

// kubectlLogs follows a pod's log, appends a line, and waits for it.
func (d *demo) kubectlLogs(ctx context.Context) (string, error) {
	const line = "a line for the demo"
	return d.follow(ctx, "pod started", line, func() error { return d.lab.AppendLog(line) }, "logs", "-f", demoPod)
}

// follow runs a kubectl that goes on until it is ended. Once it has printed a
// line with first in it, cause is called, which should make it print one with
// then in it.
func (d *demo) follow(ctx context.Context, first, then string, cause func() error, args ...string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := d.kubectl(ctx, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return "", err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return "", err
	}
	lines := bufio.NewScanner(out)
	waitFor := func(text string) (string, error) {
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				return lines.Text(), nil
			}
		}
		return "", fmt.Errorf("kubectl ended without a line with %q", text)
	}
	_, err = waitFor(first)
	if err == nil {
		err = cause()
	}
	var seen string
	if err == nil {
		seen, err = waitFor(then)
	}
	cancel()
	// It was killed; only that it has ended matters.
	_ = cmd.Wait()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return strings.Join(strings.Fields(seen), " "), nil
}

// kubectlPortForward sends bytes to the pod's echo port and gets them back.
func (d *demo) kubectlPortForward(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := d.kubectl(ctx, "port-forward", "pod/"+demoPod, ":7")
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return "", err
	}
	if err := cmd.Start(); err != nil {
		cancel()
		return "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		// "Forwarding from 127.0.0.1:PORT -> 7".
		err = echo(ctx, regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line))
	}
	cancel()
	_ = cmd.Wait()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d KiB there and back", echoSize>>10), nil
}

const echoSize = 256 << 10

func echo(ctx context.Context, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	sent := strings.Repeat("kuberelay", echoSize/len("kuberelay"))
	written := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, sent)
		written <- err
	}()
	got := make([]byte, len(sent))
	_, err = io.ReadFull(conn, got)
	if err = errors.Join(err, <-written); err != nil {
		return err
	}
	if string(got) != sent {
		return errors.New("the bytes that came back differ from those sent")
	}
	return nil
}
