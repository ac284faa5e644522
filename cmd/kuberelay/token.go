package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/auth/identify"
)

func newToken(s streams) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "token [--name=CLIENT]",
		Short: "Make a token for a client",
		Long: `Makes a new random token for a client, and the line of the configuration that
recognises it. The configuration has the token's SHA-256 alone, from which the
token cannot be told. Neither is written anywhere. It contacts no process.`,
		Example: `# For alice
COMMAND --name=alice`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(*cobra.Command, []string) error {
			token, sum := identify.NewToken()
			client := "the client"
			if name != "" {
				client = printable(name)
			}
			_, err := fmt.Fprintf(s.out, `Token, for %s alone; it is shown only now:
  %s

For match of %s in the configuration, with an expiry if it is to have one:
  - {tokenSHA256: "%s"}
`, client, token, client, sum)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "Name of the client, for the text around the token.")
	complete(cmd, "name")
	return cmd
}
