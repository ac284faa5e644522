package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	kuberelay, kubectl string
	with               []string
	rounds             int
	duration, warmUp   time.Duration
	origins            int
	check              bool
	maxRatio           float64
	maxRSS             int64   // MiB
	maxAdded           float64 // microseconds
	json               string
}

func main() { os.Exit(command(os.Args[1:])) }

// command runs one of the three programs, and returns its exit status.
func command(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(args) > 0 && args[0] == "origin":
		err = runOrigin(args[1:])
	case len(args) > 0 && args[0] == "load":
		err = runLoad(args[1:])
	default:
		err = run(ctx, args)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func parseFlags(args []string) (config, error) {
	var c config
	var with string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&c.kuberelay, "kuberelay", "", "kuberelay `binary` (default: built from ./cmd/kuberelay)")
	fs.StringVar(&c.kubectl, "kubectl", "", "kubectl `binary` (default: the lab's, else the one in PATH, else built from test/lab/components)")
	fs.StringVar(&with, "with", "", "further proxies, comma-separated: haproxy, nginx; shared, shared-without-audit: kuberelay serve")
	fs.IntVar(&c.rounds, "rounds", 5, "rounds; each measures every proxy with every workload")
	fs.DurationVar(&c.duration, "duration", 3*time.Second, "of one measurement")
	fs.DurationVar(&c.warmUp, "warm-up", time.Second, "before each measurement")
	fs.IntVar(&c.origins, "origins", 3, "origins; kubectl proxy uses the first, kuberelay knows all")
	fs.BoolVar(&c.check, "check", false, "exit with status 1 when a limit is exceeded")
	fs.Float64Var(&c.maxRatio, "max-ratio", 0.6, "limit of kuberelay's CPU per request relative to kubectl proxy's")
	fs.Int64Var(&c.maxRSS, "max-rss", 60, "limit of kuberelay's peak resident memory, MiB")
	fs.Float64Var(&c.maxAdded, "max-added", 15, "limit of what a shared listener adds to a small request, CPU µs")
	fs.StringVar(&c.json, "json", "", "write all measurements to this `file`")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if c.rounds < 1 || c.origins < 1 || c.duration < 100*time.Millisecond {
		return c, errors.New("-rounds and -origins have to be at least 1, -duration at least 100ms")
	}
	if with != "" {
		c.with = strings.Split(with, ",")
	}
	return c, nil
}

func run(ctx context.Context, args []string) (err error) {
	cfg, err := parseFlags(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kuberelay-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	if err := findPrograms(ctx, &cfg, dir); err != nil {
		return err
	}
	origins, err := startOrigins(ctx, dir, cfg.origins)
	if err != nil {
		return err
	}
	defer origins.stop()
	env := environment{dir: dir, kubeconfig: filepath.Join(dir, "kubeconfig"), origins: origins}
	if err := env.writeKubeconfig(); err != nil {
		return err
	}
	proxies, err := startProxies(ctx, cfg, env)
	defer func() {
		for _, p := range proxies {
			p.stop()
		}
	}()
	if err != nil {
		return err
	}

	r := result{Started: time.Now().UTC(), Machine: machine(), Rounds: cfg.rounds, Seconds: cfg.duration.Seconds()}
	for round := range cfg.rounds {
		for _, w := range workloads {
			for i := range proxies {
				p := proxies[(i+round)%len(proxies)] // no one always comes first
				progress("round %d/%d, %s, %s", round+1, cfg.rounds, w.Name, p.name)
				m, err := measure(ctx, cfg, p, w)
				if err != nil {
					return fmt.Errorf("%s through %s: %w", w.Name, p.name, err)
				}
				m.Round = round + 1
				r.Measurements = append(r.Measurements, m)
			}
		}
	}
	for _, p := range proxies {
		rss, err := peakRSS(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		r.Proxies = append(r.Proxies, proxyInfo{Name: p.name, Version: p.version, PeakRSS: rss})
	}
	progress("")
	r.summarise()
	r.print(os.Stdout)
	if cfg.json != "" {
		if err := r.write(cfg.json); err != nil {
			return err
		}
	}
	if cfg.check {
		return r.check(cfg)
	}
	return nil
}

// progress shows one line at a time on a terminal, and all of them elsewhere.
func progress(format string, args ...any) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
		return
	}
	if format != "" {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}
