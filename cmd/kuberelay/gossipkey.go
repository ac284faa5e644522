package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/gossip"
)

func newGossipKey(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "gossip-key",
		Short: "Make a key for gossip",
		Long: `Makes a new random key with which instances on several hosts encrypt what they
tell each other, and prints it. It belongs into a file that only kuberelay's
user may read, the same on every host, named in gossip.secretKeyFiles. Nothing
is written, and no process is contacted.`,
		Example: `# On one host; then copy the file to the others
(umask 077; COMMAND > /etc/kuberelay/gossip.key)`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(s.out, gossip.NewKey())
			return err
		},
	}
}
