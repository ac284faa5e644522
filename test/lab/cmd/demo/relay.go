package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// relay is a running kuberelay proxy.
type relay struct {
	cmd     *exec.Cmd
	url     string // http://127.0.0.1:PORT
	admin   string // http://127.0.0.1:PORT
	stopped bool
}

// firstLine is what kuberelay, like kubectl proxy, prints when it serves.
const firstLine = "Starting to serve on "

// startRelay starts kuberelay before the lab's first server, from where it
// finds the others, and returns when it serves. Its log goes to log.
func startRelay(ctx context.Context, l *lab.Lab, o options, stderr, log io.Writer) (*relay, error) {
	address, err := freeAddress(net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)))
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress(o.admin)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	args := []string{
		"proxy", "--kubeconfig=" + l.Kubeconfig(), "--port=" + port, "--admin-address=" + admin,
		// As kubectl proxy, it refuses exec and attach by default.
		"--reject-paths=",
	}
	fmt.Fprintf(stderr, "running %s %s\n", o.kuberelay, strings.Join(args, " "))
	cmd := exec.Command(o.kuberelay, args...)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.StartChild(cmd); err != nil {
		return nil, fmt.Errorf("start kuberelay: %w", err)
	}
	r := &relay{cmd: cmd, url: "http://" + address, admin: "http://" + admin}
	// Ctrl-C ends the wait for the line by ending the process.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	stop()
	if err != nil || !strings.HasPrefix(line, firstLine) {
		return nil, errors.Join(fmt.Errorf("kuberelay did not begin to serve: its first line is %q", line), context.Cause(ctx), r.stop())
	}
	return r, nil
}

// freeAddress returns address, or one with another port if that is busy.
func freeAddress(address string) (string, error) {
	ln, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, splitErr := net.SplitHostPort(address)
		if splitErr != nil {
			return "", splitErr
		}
		ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// stop ends kuberelay with SIGTERM. It fails unless that ends with exit code 0
// in time. Later calls do nothing.
func (r *relay) stop() error {
	if r.stopped {
		return nil
	}
	r.stopped = true
	kill := time.AfterFunc(drainTimeout, func() { _ = r.cmd.Process.Kill() })
	defer kill.Stop()
	// If it ended before, Wait says how.
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	if err := r.cmd.Wait(); err != nil {
		return fmt.Errorf("end of kuberelay: %w", err)
	}
	return nil
}
