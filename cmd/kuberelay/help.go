package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Widths of help texts. Beyond the widest, lines tire the eye.
const (
	defaultWidth = 80
	widestWidth  = 100
)

// groupOf is the annotation that names a flag's group in the help. Flags
// without it are not listed where there are groups.
const groupOf = "kuberelay/group"

// addGroup adds flags to cmd under a heading of its help.
func addGroup(cmd *cobra.Command, heading string, add func(*pflag.FlagSet)) {
	fs := pflag.NewFlagSet(heading, pflag.ContinueOnError)
	fs.SortFlags = false
	add(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Annotations == nil {
			f.Annotations = make(map[string][]string)
		}
		f.Annotations[groupOf] = []string{heading}
	})
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(fs)
}

// writeHelp writes a command's help in kubectl's order: what it does, examples,
// commands, options, usage.
func writeHelp(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	width := textWidth(w)
	fmt.Fprintln(w, cmd.Long)
	if cmd.Example != "" {
		fmt.Fprint(w, "\nExamples:\n", indent(strings.ReplaceAll(cmd.Example, "COMMAND", cmd.CommandPath())))
	}
	writeCommands(w, cmd)
	for _, g := range groups(cmd) {
		fmt.Fprintf(w, "\n%s:\n", g.heading)
		for i, f := range g.flags {
			if i > 0 {
				fmt.Fprintln(w)
			}
			writeFlag(w, f, width)
		}
	}
	fmt.Fprintf(w, "\nUsage:\n  %s\n", useLine(cmd))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nUse \"%s COMMAND --help\" for more information about a command.\n", cmd.CommandPath())
	}
}

func useLine(cmd *cobra.Command) string {
	_, arguments, _ := strings.Cut(cmd.Use, " ")
	return strings.TrimSpace(cmd.CommandPath() + " " + arguments)
}

func writeCommands(w io.Writer, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	fmt.Fprint(w, "\nCommands:\n")
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			fmt.Fprintf(w, "  %-12s%s\n", sub.Name(), sub.Short)
		}
	}
}

type flagGroup struct {
	heading string
	flags   []*pflag.Flag
}

// groups returns the flags of cmd by heading, in the order they were added.
// A command without headings has one group of all its flags.
func groups(cmd *cobra.Command) []flagGroup {
	var gs []flagGroup
	var rest []*pflag.Flag
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch heading := f.Annotations[groupOf]; {
		case len(heading) == 0:
			if !f.Hidden && f.Name != "help" {
				rest = append(rest, f)
			}
		case len(gs) > 0 && gs[len(gs)-1].heading == heading[0]:
			gs[len(gs)-1].flags = append(gs[len(gs)-1].flags, f)
		default:
			gs = append(gs, flagGroup{heading[0], []*pflag.Flag{f}})
		}
	})
	if len(gs) == 0 && len(rest) > 0 {
		gs = []flagGroup{{"Options", rest}}
	}
	return gs
}

// writeFlag writes a flag as kubectl does: its name and default on one line,
// what it means below.
func writeFlag(w io.Writer, f *pflag.Flag, width int) {
	short := ""
	if f.Shorthand != "" {
		short = "-" + f.Shorthand + ", "
	}
	value := f.DefValue
	if f.Value.Type() == "string" {
		value = "'" + value + "'"
	}
	fmt.Fprintf(w, "    %s--%s=%s:\n", short, f.Name, value)
	const margin = "        "
	for _, line := range wrap(f.Usage, width-len(margin)) {
		fmt.Fprintf(w, "%s%s\n", margin, line)
	}
}

// wrap breaks text into lines of at most width bytes, or of one word.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text + "\n") {
		if strings.TrimSpace(line) != "" {
			b.WriteString("  ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// textWidth is how wide lines may be on w.
func textWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return defaultWidth
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return defaultWidth
	}
	return min(max(width, defaultWidth/2), widestWidth)
}
