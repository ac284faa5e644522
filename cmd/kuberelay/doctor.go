package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/doctor"
	"github.com/kuberelay/kuberelay/internal/logging"
)

const doctorLong = `Examines what kuberelay depends on, and says of each thing whether it is as it
should be (✓), should be known (!) or is wrong (✗), and what to do about it.

With a configuration file: the file; of each cluster the kubeconfig and its
credential, the API groups, and of each API server the name, TCP, TLS with the
certificate's name and expiry, the clock, and readiness; of each credential
whether it can be had, and whether the cluster lets it impersonate those whom
grants name; files and directories, listeners and their certificates; the process
that runs, and its peers. Run it as the user that kuberelay runs as: root may do
what that one may not.

Without one: what concerns the cluster of a kubeconfig, as kuberelay proxy would
use it. That is done if there is no ` + defaultConfig + `,
or if any of the connection options is given.

Nothing is changed. No credential is printed. Credential plugins are run. The exit
code is 1 if anything is wrong.`

// doctorFlags is what the command line says.
type doctorFlags struct {
	file, output string
	timeout      time.Duration
	proxy        config.ProxyFlags
	conn         connection
}

func newDoctor(s streams) *cobra.Command {
	f := &doctorFlags{proxy: config.DefaultProxyFlags()}
	cmd := &cobra.Command{
		Use:   "doctor [--config=FILE | --kubeconfig=FILE …] [-o json]",
		Short: "Examine what kuberelay depends on, and say what to do",
		Long:  doctorLong,
		Example: `# Before the service is started, or when something is wrong
sudo -u kuberelay COMMAND

# The cluster of a kubeconfig's context, and another API server of it
COMMAND --context=prod --servers=https://10.0.0.12:6443`,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args:                  noArguments,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return f.run(cmd, s) },
	}
	addGroup(cmd, "Options", func(fs *pflag.FlagSet) {
		fs.StringVar(&f.file, "config", defaultConfig, "Path of the configuration file.")
		fs.StringVarP(&f.output, "output", "o", "table", "Output format. One of (table|json).")
		fs.DurationVar(&f.timeout, "timeout", doctor.DefaultTimeout, "Time for each step that asks over the network.")
	})
	addGroup(cmd, "Upstream Options, without a configuration file", func(fs *pflag.FlagSet) {
		all := pflag.NewFlagSet("", pflag.ContinueOnError)
		addUpstreamFlags(all, &f.proxy)
		fs.AddFlag(all.Lookup("servers"))
		fs.AddFlag(all.Lookup("discover-servers"))
	})
	addGroup(cmd, "Connection Options, without a configuration file", func(fs *pflag.FlagSet) { f.conn.addFlags(fs, cmd.Flags()) })
	complete(cmd, "output", "table", "json")
	complete(cmd, "timeout")
	complete(cmd, "servers")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	completeKubeconfigNames(cmd, &f.conn)
	return cmd
}

func (f *doctorFlags) run(cmd *cobra.Command, s streams) error {
	if f.output != "table" && f.output != "json" {
		return &usageError{cmd, fmt.Errorf("--output %q: want table or json", f.output)}
	}
	if f.timeout <= 0 {
		return &usageError{cmd, fmt.Errorf("--timeout %v: want more than zero", f.timeout)}
	}
	o, err := f.options(cmd)
	if _, usage := errors.AsType[*usageError](err); usage {
		return err
	}
	if err != nil { // of the kubeconfig, or of what the flags say of it
		return f.report(s, []doctor.Finding{{Of: "command line", Check: "kubeconfig", Verdict: doctor.Failed, Text: err.Error(),
			Do: "name a kubeconfig that kubectl can use: kubectl --kubeconfig=FILE config view"}})
	}
	// What client-go has to say would stand between the findings.
	log, _, err := logging.New(s.err, config.LevelError, config.FormatAuto)
	if err != nil {
		return err
	}
	restore, err := logging.CaptureLibraries(log)
	if err != nil {
		return err
	}
	defer restore()
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	found := doctor.Run(ctx, o)
	if ended(ctx) {
		return errors.New("interrupted")
	}
	return f.report(s, found)
}

// options says what is to be examined.
func (f *doctorFlags) options(cmd *cobra.Command) (doctor.Options, error) {
	o := doctor.Options{File: f.file, Version: version(), Timeout: f.timeout}
	connects := false
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		group := flag.Annotations[groupOf]
		connects = connects || len(group) > 0 && strings.HasSuffix(group[0], "without a configuration file")
	})
	_, err := os.Stat(f.file)
	switch chosen := cmd.Flags().Changed("config"); {
	case chosen && connects:
		return o, &usageError{cmd, errors.New("--config goes with none of the connection options: it names its own kubeconfigs")}
	case chosen, !connects && !errors.Is(err, os.ErrNotExist):
		return o, nil
	}
	o.File = ""
	o.Config, _, err = f.proxy.Configuration(config.Connection{Load: f.conn.load, Files: f.conn.files})
	return o, err
}

// report prints the findings. The error is that something is wrong.
func (f *doctorFlags) report(s streams, found []doctor.Finding) error {
	failed := 0
	for _, one := range found {
		if one.Verdict == doctor.Failed {
			failed++
		}
	}
	var err error
	if f.output == "json" {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(map[string]any{"ok": failed == 0, "findings": append([]doctor.Finding{}, found...)})
	} else {
		_, err = s.out.WriteString(findingsTable(found))
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%s of %d failed", count(failed, "check"), len(found))
	}
	return err
}
