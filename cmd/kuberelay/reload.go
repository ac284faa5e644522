package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/admin"
)

func newReload(s streams) *cobra.Command {
	var c control
	var force bool
	cmd := &cobra.Command{
		Use:   "reload [--force]",
		Short: "Have the configuration file read again, and wait",
		Long: `Has a process read its configuration file again, waits until the new one is in
force, and prints what changed. A file with anything wrong in it changes
nothing: each problem is printed, and the exit code is 1. What did not change is
not disturbed. The audit log is opened again, for its rotation by rename.

A gossip key that a peer lacks is refused: the peer would be lost. Give the key
to all first (docs/gossip.md); --force is for a peer that is to be lost.`,
		Example:               "# Check first, on the same machine and as the same user\nkuberelay check && COMMAND",
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd, func(ctx context.Context, client *admin.Client) error {
				changed, err := client.Reload(ctx, force)
				if err != nil {
					return err
				}
				text := "Reloaded; nothing changed."
				if len(changed) > 0 {
					text = "Reloaded:\n  " + strings.Join(changed, "\n  ")
				}
				_, err = fmt.Fprintln(s.out, text)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "If true, put gossip keys into force that a peer lacks.")
	c.addFlags(cmd.Flags())
	return cmd
}
