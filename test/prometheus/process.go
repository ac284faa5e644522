package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a program that runs beside this one, and its log.
type process struct {
	cmd *exec.Cmd
	log string
}

func start(ctx context.Context, dir, name string, args ...string) (*process, error) {
	p := &process{
		cmd: exec.CommandContext(ctx, name, args...),
		log: filepath.Join(dir, filepath.Base(name)+".log"),
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	return p, p.cmd.Start()
}

// stop ends it, with force when it does not go.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}

// said adds what the process logged to an error.
func (p *process) said(err error) error {
	text, _ := os.ReadFile(p.log)
	const tail = 2000
	if len(text) > tail {
		text = text[len(text)-tail:]
	}
	return fmt.Errorf("%w; %s said:\n%s", err, filepath.Base(p.cmd.Path), text)
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// until calls what every 200 ms until it returns nil, and returns its last
// error when ctx or the time ends.
func until(ctx context.Context, limit time.Duration, what func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := what()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", limit, err)
		}
	}
}
