package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// pluginName is the name under which kubectl finds the program as a plugin:
// kubectl relay.
const pluginName = "kubectl-relay"

// streams are where a command writes. err is a file because the log's format
// depends on whether it is a terminal.
type streams struct{ out, err *os.File }

// run executes a command line, program name first, and returns the exit code.
func run(args []string, s streams) int {
	program, args := filepath.Base(args[0]), args[1:]
	if isPlugin(program) && len(args) > 0 {
		switch args[0] {
		case "version": // of the program, not an argument that proxy ignores
			program = "kuberelay"
		case "proxy": // what the plugin is anyway
			args = args[1:]
		}
	}
	cmd := newCommand(program, s)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return exitCode(err, report(s.err, err))
}

// isPlugin reports whether kubectl called the program as its plugin.
func isPlugin(program string) bool { return strings.TrimSuffix(program, ".exe") == pluginName }

// newCommand returns the command that a program of this name is.
func newCommand(program string, s streams) *cobra.Command {
	cmd := newRoot(s)
	if isPlugin(program) {
		cmd = newProxy(s)
		cmd.Use = strings.Replace(cmd.Use, "proxy", pluginName, 1)
		cmd.Annotations[cobra.CommandDisplayNameAnnotation] = "kubectl relay"
		cmd.Version = version()
		cmd.SetVersionTemplate(versionLine() + "\n")
	}
	cmd.SilenceErrors = true // report prints them
	cmd.SilenceUsage = true
	cmd.SetOut(s.out)
	cmd.SetErr(s.err)
	cmd.SetHelpFunc(writeHelp)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	cmd.SetGlobalNormalizationFunc(dashes)
	return cmd
}

func newRoot(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kuberelay COMMAND",
		Short: "One endpoint for all API servers of a cluster",
		Long: `Serves the Kubernetes API on one local address, as kubectl proxy does, from all
API servers of the cluster: when one of them fails, requests go to the others.`,
		Version: version(),
		Args:    knownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true, // newCompletion is ours
		},
	}
	cmd.SetVersionTemplate(versionLine() + "\n")
	cmd.Flags().Bool("version", false, "Print the version.") // cobra's own would take -v
	cmd.AddCommand(
		newProxy(s), newServe(s), newCheck(s), newSchema(s),
		newStatus(s), newDoctor(s), newReload(s), newDrain(s), newUndrain(s), newRevoke(s),
		newKubeconfig(s), newCredential(s), newToken(s), newGossipKey(s),
		newVersion(s), newCompletion(s),
	)
	refuseHelpForUnknown(cmd)
	return cmd
}

// refuseHelpForUnknown has "help NAME" refuse what is no command; cobra's own
// prints the help of the root.
func refuseHelpForUnknown(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() != "help" {
			continue
		}
		help.Args = func(_ *cobra.Command, args []string) error {
			if found, _, err := root.Find(args); err == nil && found != root {
				return nil
			}
			return knownCommand(root, args)
		}
	}
}

// knownCommand refuses what is left over when no command was found.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	return &usageError{cmd, unknownCommand{args[0], cmd.SuggestionsFor(args[0])}}
}

// dashes accepts --api_prefix for --api-prefix, as kubectl does.
func dashes(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}
