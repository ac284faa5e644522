package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/kuberelay/kuberelay/admin"
)

// Exit codes of the operators' commands.
const (
	exitDegraded   = 3
	exitNotRunning = 4
)

// defaultControlSocket is where the packages' unit file has it.
const defaultControlSocket = "/run/kuberelay/admin.sock"

// completionTimeout is how long a shell may be kept waiting for names.
const completionTimeout = time.Second

// degradedError is that a process runs, and that something is wrong with what
// it does.
type degradedError struct{ why error }

func (e *degradedError) Error() string { return "degraded: " + e.why.Error() }

// exitCode is the exit code of err, which was reported with code.
func exitCode(err error, code int) int {
	if _, degraded := errors.AsType[*degradedError](err); degraded {
		return exitDegraded
	}
	if errors.Is(err, admin.ErrNotRunning) {
		return exitNotRunning
	}
	return code
}

// control finds the process that an operator's command is for.
type control struct {
	config, socket string
}

func (c *control) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.config, "config", "", "Path of the configuration file of the process, whose admin.controlSocket is asked.")
	fs.StringVar(&c.socket, "control-socket", defaultControlSocket, "Path of the control socket to ask. It wins over --config.")
}

// client returns a client for the process, which the caller closes.
func (c *control) client(cmd *cobra.Command) (*admin.Client, error) {
	if c.config == "" || cmd.Flags().Changed("control-socket") {
		return admin.NewClient(c.socket), nil
	}
	socket, err := controlSocketOf(c.config)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(socket), nil
}

// controlSocketOf reads one field of a configuration file, and does not care
// for the others: an operator must be able to ask a process whose file has
// since become invalid, or names files that only the process can read.
func controlSocketOf(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("--config: %w", err)
	}
	var file struct {
		Admin struct {
			ControlSocket string `yaml:"controlSocket"`
		} `yaml:"admin"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return "", fmt.Errorf("--config: %s: %w", path, err)
	}
	if file.Admin.ControlSocket == "" {
		return "", fmt.Errorf("--config: %s names no admin.controlSocket, so its process cannot be asked", path)
	}
	return file.Admin.ControlSocket, nil
}

// do asks the process for something. What it refuses becomes one error for each
// problem.
func (c *control) do(cmd *cobra.Command, ask func(context.Context, *admin.Client) error) error {
	client, err := c.client(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	err = ask(cmd.Context(), client)
	if refused, ok := errors.AsType[*admin.RefusedError](err); ok {
		var problems []error
		for _, text := range refused.Problems {
			problems = append(problems, errors.New(text))
		}
		return errors.Join(problems...)
	}
	return err
}

// suggest completes arguments from the status of the process.
func (c *control) suggest(cmd *cobra.Command, names func(admin.Status) []string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	client, err := c.client(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(status), cobra.ShellCompDirectiveNoFileComp
}

// exactly refuses other numbers of arguments than those named.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return &usageError{cmd, fmt.Errorf("%s is missing", names[len(args)])}
		case len(args) > len(names):
			return &usageError{cmd, fmt.Errorf("unexpected argument %q", args[len(names)])}
		}
		return nil
	}
}
