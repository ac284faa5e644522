package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/gossip"
)

const checkLong = `Reads a configuration file as kuberelay serve does and prints everything that is
wrong with it, one line for each:

  FILE:LINE: FIELD: what is wrong

The files that the configuration names (kubeconfigs, tokens, certificates) are
read and checked, too. No API server is contacted and no credential plugin runs.
What may surprise, such as a client without a grant, goes to standard error.

The exit code is 1 if anything is wrong.`

func newCheck(s streams) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check [--config=FILE]",
		Short: "Check a configuration file",
		Long:  checkLong,
		Example: `# Before a reload
COMMAND --config=/etc/kuberelay/config.yaml && kuberelay reload`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE:                  func(*cobra.Command, []string) error { return check(s, file) },
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "The configuration file.")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return cmd
}

// check prints the problems themselves on standard output, where other programs
// look for them, and returns how many there are.
func check(s streams, file string) error {
	cfg, err := config.Load(file)
	if found, ok := errors.AsType[config.Problems](err); ok {
		for _, problem := range found {
			fmt.Fprintln(s.out, problem)
		}
		return fmt.Errorf("%s in %s", count(len(found), "problem"), file)
	}
	if err != nil {
		return err
	}
	if err := checkGossip(cfg.Gossip); err != nil {
		fmt.Fprintf(s.out, "%s: gossip: %v\n", file, err)
		return fmt.Errorf("1 problem in %s", file)
	}
	for _, warning := range cfg.Warnings(time.Now()) {
		fmt.Fprintf(s.err, "warning: %s\n", warning)
	}
	_, err = fmt.Fprintf(s.out, "%s: ok, %s, %s, %s\n", file,
		count(len(cfg.Clusters), "cluster"), count(len(cfg.Clients), "client"), count(len(cfg.Listeners), "listener"))
	return err
}

// checkGossip looks up this host's own addresses, which a reload does not: it
// must not depend on a name server.
func checkGossip(c gossip.Config) error {
	if !c.Enabled() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	return c.Check(ctx)
}

const lookupTimeout = 5 * time.Second

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
