package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kuberelay/kuberelay/internal/joined"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// Exit codes. kuberelay proxy keeps kubectl's: failure for everything but a
// bad pattern.
const (
	exitFailure = 1
	exitUsage   = 2
	exitPattern = 255
)

// usageError is a command line that cannot be parsed.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%v\nSee '%s --help' for usage.", e.err, e.cmd.CommandPath())
}

func (e *usageError) Unwrap() error { return e.err }

// code is kubectl's for a command that stands in for one of kubectl's.
func (e *usageError) code() int {
	if e.cmd.Annotations[kubectlCodes] != "" {
		return exitFailure
	}
	return exitUsage
}

type unknownCommand struct {
	name        string
	suggestions []string
}

func (e unknownCommand) Error() string {
	text := fmt.Sprintf("unknown command %q", e.name)
	if len(e.suggestions) > 0 {
		text += ", did you mean " + strings.Join(e.suggestions, " or ") + "?"
	}
	return text
}

// report prints err as kubectl prints it and returns the exit code.
func report(w io.Writer, err error) int {
	var usage *usageError
	var pattern *filter.PatternError
	var signal interrupted
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(w, "error: %v\n", usage)
		return usage.code()
	case errors.As(err, &pattern):
		fmt.Fprintf(w, "%s%v\n", fatalHeader(time.Now()), pattern)
		return exitPattern
	case errors.As(err, &signal):
		return signal.code()
	}
	for _, err := range joined.Errors(err) {
		fmt.Fprintln(w, message(err))
	}
	return exitFailure
}

// message words an error that ends the program as kubectl's StandardErrorMessage
// and CheckErr do.
func message(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok && u.Op == "parse" {
		return fmt.Sprintf("Unable to connect to the server: %v", u.Err)
	}
	text := err.Error()
	if aggregate, ok := err.(interface{ Errors() []error }); ok && len(aggregate.Errors()) == 1 {
		text = aggregate.Errors()[0].Error()
	} else if clientcmd.IsConfigurationInvalid(err) {
		return "Error in configuration: " + text
	}
	if strings.HasPrefix(text, "error: ") {
		return text
	}
	return "error: " + text
}

// fatalHeader begins a line as klog.Fatal does, which is what kubectl dies by
// when a pattern is bad: Lmmdd hh:mm:ss.uuuuuu pid file:line].
func fatalHeader(now time.Time) string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("F%s %7d %s:%d] ", now.Format("0102 15:04:05.000000"), os.Getpid(), filepath.Base(file), line)
}
