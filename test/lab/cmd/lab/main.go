// Lab runs a real Kubernetes control plane on this machine, and
// commands one that runs already.
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
	"strings"
	"syscall"

	"github.com/kuberelay/kuberelay/test/lab"
	"github.com/kuberelay/kuberelay/test/lab/internal/control"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	dir, err := control.DefaultDir()
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var opts lab.Options
	flags.StringVar(&opts.Dir, "dir", dir, "directory of the lab")
	flags.IntVar(&opts.Servers, "servers", 3, "number of API servers")
	flags.IntVar(&opts.Nodes, "nodes", 2, "number of nodes")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage())
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil {
		return err
	}
	switch client := control.NewClient(opts.Dir); flags.Arg(0) {
	case "":
		opts.Log = stderr
		return serve(ctx, opts, stdout)
	case "status":
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		status.Print(stdout)
		return nil
	case "log":
		return client.Log(ctx, strings.Join(flags.Args()[1:], " "))
	default:
		if flags.NArg() != 2 {
			return fmt.Errorf("give an action and a server, as in: lab kill 1\n%s", usage())
		}
		return client.Do(ctx, flags.Arg(0), flags.Arg(1))
	}
}

func usage() string {
	var b strings.Builder
	b.WriteString("usage: lab [flags]          run a lab until Ctrl-C\n" +
		"       lab [flags] status   show its servers\n" +
		"       lab [flags] log TEXT append a line to the pods' log\n" +
		"       lab [flags] ACTION N do something to server N (0, 1, …) or to etcd:\n")
	for _, a := range control.Actions {
		fmt.Fprintf(&b, "         %-10s %s\n", a.Name, a.Help)
	}
	return b.String()
}

// serve runs a lab until ctx ends.
func serve(ctx context.Context, opts lab.Options, stdout io.Writer) (err error) {
	l, err := lab.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := l.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := l.CreatePod(ctx, "demo"); err != nil {
		return err
	}
	control.StatusOf(l).Print(stdout)
	fmt.Fprintf(stdout, `
Try:
  export KUBECONFIG=%s
  %s get nodes,pods -o wide
  %[2]s exec demo -- uname -a
  %[3]s kill 1        (or: %[4]s; for all: --help)
  %[3]s restart 1
Ctrl-C ends the lab.
`, l.Kubeconfig(), l.Paths.Kubectl, control.Command(opts.Dir), "stop, cont, blackhole, heal, status")
	return control.Serve(ctx, l, nil)
}
