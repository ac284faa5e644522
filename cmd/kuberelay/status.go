package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/admin"
)

// watchInterval is the time between two looks of status --watch.
const watchInterval = 2 * time.Second

func newStatus(s streams) *cobra.Command {
	var c control
	var address, output string
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [--config=FILE | --admin=HOST:PORT] [-o wide|json] [--watch]",
		Short: "Show clusters, API servers, listeners and clients",
		Long: `Shows what a running process does: its clusters and their API servers, its
listeners, the clients that use it, credentials, its peers, the configuration in
force, and what happened last. LATENCY is the time within which nine of ten
answers of an API server began, in the latest five seconds that had any. With
-o wide it also shows where the peers are, the IDs of their keys, what they have
to do, and who sees what of each API server.

The exit code is 0 when all is well, 3 when a cluster has no usable API server,
the last reload was refused or requests are refused because audit events cannot
be written, 4 when no process answers.`,
		Example: `# The process of this machine's service
COMMAND

# One that is reached by its admin address only
COMMAND --admin=127.0.0.1:9801

# Every two seconds, until Ctrl-C
COMMAND --watch`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "wide" && output != "json" {
				return &usageError{cmd, fmt.Errorf("--output %q: want table, wide or json", output)}
			}
			client, err := c.statusClient(cmd, address)
			if err != nil {
				return err
			}
			defer client.Close()
			v := viewer{ask: client.Status, out: s.out, wide: output == "wide", json: output == "json", now: time.Now}
			if !watch {
				return v.show(cmd.Context())
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			tick := time.NewTicker(watchInterval)
			defer tick.Stop()
			if v.screen = terminalScreen(s.out); v.screen != nil && !v.json {
				v.screen.open()
				defer v.screen.close()
			}
			return v.watch(ctx, tick.C)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "Output format. One of (table|wide|json). wide has more of the peers; json is the document of /api/v1/status.")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "If true, look again every two seconds, until interrupted.")
	cmd.Flags().StringVar(&address, "admin", "", "HOST:PORT of the admin server to ask, in place of a control socket.")
	complete(cmd, "output", "table", "wide", "json")
	complete(cmd, "admin")
	c.addFlags(cmd.Flags())
	return cmd
}

// statusClient asks an address, if there is one, and the control socket
// otherwise.
func (c *control) statusClient(cmd *cobra.Command, address string) (*admin.Client, error) {
	if address == "" {
		return c.client(cmd)
	}
	if c.config != "" || cmd.Flags().Changed("control-socket") {
		return nil, &usageError{cmd, errors.New("--admin goes with neither --config nor --control-socket")}
	}
	client, err := admin.NewAddressClient(address)
	if err != nil {
		return nil, &usageError{cmd, fmt.Errorf("--admin: %w", err)}
	}
	return client, nil
}

// viewer shows a status, once or again and again.
type viewer struct {
	ask    func(context.Context) (admin.Status, error)
	out    io.Writer
	wide   bool
	json   bool
	screen *screen // nil: what is shown is written one after the other
	now    func() time.Time
	last   string // what was shown last, without its first line
}

// show shows the status once. Its error is what is wrong with the process.
func (v *viewer) show(ctx context.Context) error {
	s, err := v.ask(ctx)
	if err != nil {
		return err
	}
	if err := v.write(s); err != nil {
		return err
	}
	return verdict(s)
}

func (v *viewer) write(s admin.Status) error {
	if v.json {
		e := json.NewEncoder(v.out)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	return v.text(statusTable(s, v.now(), v.wide))
}

// text writes a text, below the time if it is to be written over.
func (v *viewer) text(text string) error {
	if v.screen == nil {
		_, err := io.WriteString(v.out, text)
		return err
	}
	v.last = text
	return v.screen.show(fmt.Sprintf("%s, every %v; Ctrl-C ends\n\n%s", v.now().Format(time.TimeOnly), watchInterval, text))
}

// untilSignal returns a context that ends with the first signal, and a function
// that gives its resources back.
func untilSignal(parent context.Context) (context.Context, func()) {
	signals, stop := notify(false)
	ctx, cancel := context.WithCancel(parent)
	go func() {
		defer cancel()
		select {
		case <-signals:
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); stop() }
}

// watch shows the status at each tick until ctx ends. A process that is
// away for the moment, because it restarts, is waited for; one that was never
// there is not.
func (v *viewer) watch(ctx context.Context, ticks <-chan time.Time) error {
	for first := true; ; first = false {
		s, err := v.ask(ctx)
		if ended(ctx) {
			return nil
		}
		switch {
		case err != nil && first:
			return err
		case err != nil:
			err = v.trouble(err)
		default:
			err = v.write(s)
		}
		if err != nil {
			return err // of writing
		}
		select {
		case <-ticks:
		case <-ctx.Done():
			return nil
		}
	}
}

// ended tells that nobody waits for an answer any longer.
func ended(ctx context.Context) bool { return ctx.Err() != nil }

func (v *viewer) trouble(err error) error {
	if v.json {
		return nil // what is printed is documents
	}
	text := v.now().Format(time.TimeOnly) + " " + printable(err.Error()) + "\n"
	if v.screen == nil {
		_, err = io.WriteString(v.out, text)
		return err
	}
	return v.screen.show(text + "The last known status follows.\n\n" + v.last)
}

// verdict is what is wrong, nil if nothing is.
func verdict(s admin.Status) error {
	var errs []error
	for _, c := range s.Clusters {
		if !c.Ready {
			errs = append(errs, &degradedError{fmt.Errorf("cluster %s is not ready: %s", printable(c.Name), printable(c.Reason))})
		}
	}
	if s.Config != nil && s.Config.LastReload != nil && !s.Config.LastReload.OK {
		errs = append(errs, &degradedError{errors.New("the last reload was refused; the configuration before it is in force")})
	}
	if s.Audit != nil && s.Audit.Blocks && s.Audit.Error != "" {
		errs = append(errs, &degradedError{errors.New("audit events cannot be written; requests that change something are refused")})
	}
	return errors.Join(errs...)
}
