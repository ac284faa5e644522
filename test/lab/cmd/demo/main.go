// Demo runs a real Kubernetes control plane and kuberelay in front of it. It
// prints what to try, or with --script tries it itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
	"github.com/kuberelay/kuberelay/test/lab/internal/control"
)

// demoPod is the pod that the demo runs commands in.
const demoPod = "demo"

// drainTimeout is how long kuberelay may take to end.
const drainTimeout = 15 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	kuberelay string
	dir       string
	port      int
	admin     string
	script    bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	dir, err := control.DefaultDir()
	if err != nil {
		return o, err
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.kuberelay, "kuberelay", "", "the kuberelay `program` (default: bin/kuberelay of the source tree)")
	flags.StringVar(&o.dir, "dir", dir, "directory of the lab")
	flags.IntVar(&o.port, "port", 8001, "port of the proxy; another one when it is busy")
	flags.StringVar(&o.admin, "admin-address", "127.0.0.1:9801", "address for metrics and status; another port when it is busy")
	flags.BoolVar(&o.script, "script", false, "perform the demo, and fail if a step does")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.kuberelay == "" {
		o.kuberelay = findKuberelay()
	}
	if _, err := os.Stat(o.kuberelay); err != nil {
		return o, fmt.Errorf("find kuberelay (make build makes it): %w", err)
	}
	return o, nil
}

// findKuberelay returns the program that make build makes, for a demo that is
// started in the source tree's root or in test/lab.
func findKuberelay() string {
	built := filepath.Join("bin", "kuberelay")
	if up := filepath.Join("..", "..", built); !exists(built) && exists(up) {
		return up
	}
	return built
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := lab.Start(ctx, lab.Options{Dir: o.dir, Log: stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.CreatePod(ctx, demoPod); err != nil {
		return err
	}
	if o.script {
		return runScript(ctx, l, o, stdout, stderr)
	}
	r, err := startRelay(ctx, l, o, stderr, stderr)
	if err != nil {
		return err
	}
	d := demo{lab: l, relay: r, out: stdout, dir: o.dir}
	return errors.Join(d.tour(ctx), r.stop())
}

// runScript keeps kuberelay's log out of the way of the outcomes.
func runScript(ctx context.Context, l *lab.Lab, o options, stdout, stderr io.Writer) error {
	path := filepath.Join(l.Dir, "log", "kuberelay.log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	r, err := startRelay(ctx, l, o, stderr, log)
	if err == nil {
		d := demo{lab: l, relay: r, out: stdout, dir: o.dir}
		err = errors.Join(d.script(ctx), r.stop())
	}
	if err != nil {
		return fmt.Errorf("%w (kuberelay's log is %s)", err, path)
	}
	return nil
}

// demo is a lab with kuberelay in front.
type demo struct {
	lab   *lab.Lab
	relay *relay
	out   io.Writer
	dir   string
}

func (d *demo) printf(format string, args ...any) {
	fmt.Fprintf(d.out, format, args...)
}
