package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/internal/logging"
	sdnotify "github.com/kuberelay/kuberelay/internal/notify"
)

const serveLong = `Serves the clusters of a configuration file on its listeners, until SIGTERM or
SIGINT. On a shared listener each client is identified, by the user of its
process, a token, a certificate or OpenID Connect, and calls the cluster with
its own credential, within its own policy and limits.

The file is read again when it changes, on SIGHUP, and by kuberelay reload. It
is put into force as a whole or not at all, and what has not changed goes on
undisturbed.`

const serveExample = `# Check a configuration, then serve it
kuberelay check --config=/etc/kuberelay/config.yaml
COMMAND --config=/etc/kuberelay/config.yaml`

// newServe returns the command that runs the daemon of a configuration file.
func newServe(s streams) *cobra.Command {
	file := defaultConfig
	cmd := &cobra.Command{
		Use:                   "serve [--config=FILE]",
		Short:                 "Serve the clusters of a configuration file, each client as itself",
		Long:                  serveLong,
		Example:               serveExample,
		Args:                  noArguments,
		RunE:                  func(*cobra.Command, []string) error { return runServe(s, file) },
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&file, "config", file, "The configuration file.")
	return cmd
}

// runServe serves until it is told to stop. Standard output has one line for
// each listener once all of them are bound.
func runServe(s streams, file string) (err error) {
	manager := serviceManager{log: zap.NewNop()}
	if manager.to, err = sdnotify.Systemd(); err != nil {
		return err
	}
	defer func() { manager.died(err) }()
	load := func() (*config.Configuration, error) { return loadServed(file) }
	cfg, err := load()
	if err != nil {
		return err
	}
	log, level, err := logging.New(s.err, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	manager.log = log
	restore, err := logging.CaptureLibraries(log)
	if err != nil {
		return err
	}
	defer restore()
	for _, warning := range cfg.Warnings(time.Now()) {
		log.Warn(warning)
	}
	inherited, err := listen.Systemd()
	if err != nil {
		return err
	}
	traces := newTraces(log)
	p := program{
		config: cfg, log: log, manager: manager, reloads: true,
		options: daemon.Options{
			Log: log, Level: &level, Version: version(),
			ConfigFile: file,
			Load:       load,
			Inherited:  inherited,
			Tracing:    traces.ofRequests(),
		},
		served: func(d *daemon.Daemon) error {
			for _, l := range cfg.Listeners {
				if _, err := fmt.Fprintf(s.out, "Serving %s on %s\n", l.Name, d.Addr(l.Name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return traces.end(p.run())
}

// loadServed reads the configuration file. Under systemd with StateDirectory=
// there is a place for the state file even if none is named.
func loadServed(file string) (*config.Configuration, error) {
	cfg, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	if directory, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); directory != "" && cfg.StateFile == "" {
		cfg.StateFile = filepath.Join(directory, "state.json")
	}
	return cfg, nil
}
