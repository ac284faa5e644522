package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// workload is one kind of request.
type workload struct {
	Name        string
	Path        string
	Connections int
	Size        int // of the response's body, bytes
}

var workloads = []workload{
	{Name: "get", Path: smallPath, Connections: 64, Size: smallSize},
	{Name: "list", Path: listPath, Connections: 8, Size: listSize},
}

// measurement is one proxy under one workload in one round.
type measurement struct {
	Round    int     `json:"round"`
	Proxy    string  `json:"proxy"`
	Workload string  `json:"workload"`
	CPU      float64 `json:"cpuMicrosecondsPerRequest"`
	load
}

// load is what the load generator reports.
type load struct {
	Requests int64   `json:"requests"`
	Errors   int64   `json:"errors"`
	First    string  `json:"firstError,omitempty"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50Milliseconds"`
	P99      float64 `json:"p99Milliseconds"`
	Max      float64 `json:"maxMilliseconds"`
}

func (l load) perSecond() float64 { return float64(l.Requests) / l.Seconds }

// measure lets the load generator warm up and work, and reads the proxy's CPU
// clock when it begins and ends counting.
func measure(ctx context.Context, cfg config, p *proxy, w workload) (measurement, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.warmUp+cfg.duration+30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "load",
		"-address", p.addr, "-path", w.Path, "-size", strconv.Itoa(w.Size), "-connections", strconv.Itoa(w.Connections),
		"-warm-up", cfg.warmUp.String(), "-duration", cfg.duration.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return measurement{}, err
	}
	if err := cmd.Start(); err != nil {
		return measurement{}, err
	}
	m := measurement{Proxy: p.name, Workload: w.Name}
	err = func() error {
		in := json.NewDecoder(out)
		var begin string
		if err := in.Decode(&begin); err != nil {
			return fmt.Errorf("load generator: %w", err)
		}
		before, err := cpuTime(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if err := in.Decode(&m.load); err != nil {
			return fmt.Errorf("load generator: %w", err)
		}
		after, err := cpuTime(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if m.Errors > 0 {
			return fmt.Errorf("%d requests failed, the first with: %s", m.Errors, m.First)
		}
		if m.Requests == 0 {
			return errors.New("no request was completed")
		}
		m.CPU = float64((after - before).Microseconds()) / float64(m.Requests)
		return nil
	}()
	if err != nil {
		_ = cmd.Process.Kill()
		return m, errors.Join(err, ignoreKilled(cmd.Wait()))
	}
	return m, cmd.Wait()
}

// ignoreKilled drops the error of a process that the harness has killed.
func ignoreKilled(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}
