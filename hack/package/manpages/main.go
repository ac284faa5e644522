// Manpages writes a manual page of kuberelay and of each of its commands, from
// their help:
//
//	manpages PROGRAM VERSION DATE DIRECTORY
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: manpages PROGRAM VERSION DATE DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// write writes the pages into an existing directory.
func write(program, version, date, directory string) error {
	root, err := help(program)
	if err != nil {
		return err
	}
	commands := root.commands()
	if len(commands) == 0 {
		return fmt.Errorf("the help of %s names no command: has its form changed?", program)
	}
	p := page{name: "kuberelay", short: "one endpoint for all API servers of a cluster", version: version, date: date, text: root}
	for _, c := range commands {
		p.also = append(p.also, "kuberelay-"+c.name)
	}
	if err := save(directory, p); err != nil {
		return err
	}
	for _, c := range commands {
		text, err := help(program, c.name)
		if err != nil {
			return err
		}
		also := []string{"kuberelay"}
		if err := save(directory, page{name: "kuberelay-" + c.name, short: lowerFirst(c.short), version: version, date: date, text: text, also: also}); err != nil {
			return err
		}
	}
	return nil
}

// helpTimeout is long for a program that prints its help.
const helpTimeout = 30 * time.Second

// help asks the program for the help of a command.
func help(program string, command ...string) (text, error) {
	ctx, cancel := context.WithTimeout(context.Background(), helpTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, append(command, "--help")...).Output()
	if err != nil {
		return text{}, fmt.Errorf("%s %s --help: %w", program, strings.Join(command, " "), err)
	}
	return parse(string(out)), nil
}

func save(directory string, p page) error {
	return os.WriteFile(filepath.Join(directory, p.name+".1"), []byte(p.roff()), 0o600)
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
