package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/admin"
)

func newRevoke(s streams) *cobra.Command {
	var c control
	var period time.Duration
	var reason string
	var lift bool
	cmd := &cobra.Command{
		Use:   "revoke CLIENT [--for=DURATION] [--reason=TEXT] [--lift]",
		Short: "Refuse a client from now on, and end what it has open",
		Long: `Refuses a client from now on, whatever it presents, and ends its requests,
watches, exec sessions and port-forwards within a second. Others notice nothing.
It lasts until it is lifted or its time is over, also over a reload; over a
restart, too, if the configuration has a stateFile. It holds on all hosts that
gossip with this one and have a client of that name, within a second; on those
that cannot be reached now, as soon as they can. So does --lift.`,
		Example: `# Alice's laptop was stolen
COMMAND alice --reason='laptop stolen, ticket 1234'

# For a day
COMMAND alice --for=24h

# She is back
COMMAND alice --lift`,
		DisableFlagsInUseLine: true,
		Args:                  exactly("CLIENT"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return c.suggest(cmd, func(st admin.Status) []string { return revocable(st, args, lift) })
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch flags := cmd.Flags(); {
			case lift && (flags.Changed("for") || flags.Changed("reason")):
				return &usageError{cmd, errors.New("--lift goes with neither --for nor --reason")}
			case flags.Changed("for") && period <= 0:
				return &usageError{cmd, fmt.Errorf("--for %v: must be more than zero", period)}
			}
			return c.do(cmd, func(ctx context.Context, client *admin.Client) error {
				if lift {
					if err := client.Unrevoke(ctx, args[0]); err != nil {
						return err
					}
					_, err := fmt.Fprintf(s.out, "Client %s may call again.\n", args[0])
					return err
				}
				done, err := client.Revoke(ctx, args[0], period, reason)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(s.out, sentence(done))
				return err
			})
		},
	}
	cmd.Flags().DurationVar(&period, "for", 0, "How long the client is refused, such as 24h. 0 means until it is lifted.")
	cmd.Flags().StringVar(&reason, "reason", "", "Why, for the log and the state file.")
	cmd.Flags().BoolVar(&lift, "lift", false, "If true, lift the revocation.")
	complete(cmd, "for")
	complete(cmd, "reason")
	c.addFlags(cmd.Flags())
	return cmd
}

// sentence says what a revocation did.
func sentence(r admin.Revoked) string {
	until := "until it is lifted"
	if !r.Until.IsZero() {
		until = "until " + r.Until.Local().Format(time.RFC3339)
	}
	open := "nothing of it was open"
	switch {
	case r.Cut == 1:
		open = "1 request or stream of it was ended"
	case r.Cut > 1:
		open = fmt.Sprintf("%d requests and streams of it were ended", r.Cut)
	}
	return fmt.Sprintf("Client %s is refused %s; %s.", r.Client, until, open)
}

// revocable are the clients that may be named.
func revocable(s admin.Status, args []string, lift bool) []string {
	var names []string
	for _, c := range s.Clients {
		if len(args) == 0 && c.Revoked == lift {
			names = append(names, c.Name)
		}
	}
	return names
}
