package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of a release build: -ldflags "-X main.release=v1.2.3".
var release string

// version is the release, or what the Go toolchain recorded of the source.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

func versionLine() string {
	return fmt.Sprintf("kuberelay %s (%s, %s/%s)", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersion(s streams) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:                   "version [-o json]",
		Short:                 "Print the version",
		Long:                  "Prints the version of this program. It contacts no API server.",
		Example:               "# For a script\nCOMMAND -o json",
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case "":
				_, err := fmt.Fprintln(s.out, versionLine())
				return err
			case "json":
				return json.NewEncoder(s.out).Encode(map[string]string{
					"version":   version(),
					"goVersion": runtime.Version(),
					"platform":  runtime.GOOS + "/" + runtime.GOARCH,
				})
			}
			return &usageError{cmd, fmt.Errorf("--output %q: want json, or nothing", output)}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output format: json, or one line of text if empty.")
	complete(cmd, "output", "json")
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{cmd, fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}
