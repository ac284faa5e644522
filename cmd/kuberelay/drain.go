package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/admin"
)

func newDrain(s streams) *cobra.Command {
	return drainCommand(s, &cobra.Command{
		Use:   "drain CLUSTER UPSTREAM",
		Short: "Take an API server out of use",
		Long: `Takes an API server out of use, for its maintenance: new requests go to the
cluster's others, and watches move there. What else is open on it may finish;
kuberelay status shows how much that is. The server is probed as before, and
used if none of the others can be. It lasts until kuberelay undrain.

It holds on all hosts that gossip with this one; on those that cannot be reached
now, as soon as they can.`,
		Example: `# Before 10.0.0.11 is upgraded
COMMAND prod 10.0.0.11:6443`,
	}, (*admin.Client).Drain, "%s of cluster %s is draining: it gets no new requests while another can be used.\n")
}

func newUndrain(s streams) *cobra.Command {
	return drainCommand(s, &cobra.Command{
		Use:   "undrain CLUSTER UPSTREAM",
		Short: "Let an API server be used again",
		Long: `Lets an API server that kuberelay drain took out of use, on whichever host, be
used again. This, too, holds on all hosts that gossip with this one.`,
		Example: `# After 10.0.0.11 was upgraded
COMMAND prod 10.0.0.11:6443`,
	}, (*admin.Client).Undrain, "%s of cluster %s is used again.\n")
}

// drainCommand completes a command that changes an upstream.
func drainCommand(s streams, cmd *cobra.Command, change func(*admin.Client, context.Context, string, string) error, done string) *cobra.Command {
	var c control
	cmd.Args = exactly("CLUSTER", "UPSTREAM")
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.do(cmd, func(ctx context.Context, client *admin.Client) error {
			if err := change(client, ctx, args[0], args[1]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, done, args[1], args[0])
			return err
		})
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.suggest(cmd, func(st admin.Status) []string { return drainable(st, args) })
	}
	c.addFlags(cmd.Flags())
	return cmd
}

// drainable are the names that may follow args: of clusters, then of the
// cluster's upstreams.
func drainable(s admin.Status, args []string) []string {
	var names []string
	for _, c := range s.Clusters {
		switch {
		case len(args) == 0:
			names = append(names, c.Name)
		case len(args) == 1 && args[0] == c.Name:
			for _, u := range c.Upstreams {
				names = append(names, u.ID)
			}
		}
	}
	return names
}
