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
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the configuration file read again, and wait",
		Long: `Has a process read its configuration file again, waits until the new one is in
force, and prints what changed. A file with anything wrong in it changes
nothing: each problem is printed, and the exit code is 1. What did not change is
not disturbed. The audit log is opened again, for its rotation by rename.`,
		Example:               "# Check first, on the same machine and as the same user\nkuberelay check && COMMAND",
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd, func(ctx context.Context, client *admin.Client) error {
				changed, err := client.Reload(ctx)
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
	c.addFlags(cmd.Flags())
	return cmd
}
