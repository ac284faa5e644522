package main

import (
	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/config"
)

func newSchema(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Long: `Prints the JSON Schema (draft 2020-12) of the configuration file, with what each
field means, its default and its values. Editors complete and check with it;
kuberelay check knows more.`,
		Example: `# Let editors with the YAML language server find it
COMMAND > kuberelay.schema.json
echo '# yaml-language-server: $schema=kuberelay.schema.json' | cat - config.yaml`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := s.out.Write(config.Schema())
			return err
		},
	}
}
