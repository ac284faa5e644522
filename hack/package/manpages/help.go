package main

import "strings"

// text is the help of a command: what it does, then sections.
type text struct {
	long     string
	sections []section
}

// section is a heading of a help, and the lines below it.
type section struct {
	heading string
	lines   []string
}

// parse takes a help apart. Its headings stand at the margin and end in a
// colon, after an empty line; what belongs to them is indented.
func parse(help string) text {
	var t text
	var long []string
	lines := strings.Split(strings.TrimSpace(help), "\n")
	for i, line := range lines {
		last := len(t.sections) - 1
		name, isHeading := strings.CutSuffix(line, ":")
		indented := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  ")
		switch {
		case isHeading && indented && !strings.HasPrefix(line, " ") && i > 0 && lines[i-1] == "":
			t.sections = append(t.sections, section{heading: name})
		case last < 0:
			long = append(long, line)
		case line == "" || strings.HasPrefix(line, " "):
			t.sections[last].lines = append(t.sections[last].lines, line)
		} // else it points to other helps
	}
	t.long = strings.TrimSpace(strings.Join(long, "\n"))
	return t
}

func (t text) section(heading string) []string {
	for _, s := range t.sections {
		if s.heading == heading {
			return s.lines
		}
	}
	return nil
}

type command struct{ name, short string }

// commands are those that the help lists and that are not about helps.
func (t text) commands() []command {
	var all []command
	for _, line := range t.section("Commands") {
		name, short, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && name != "help" {
			all = append(all, command{name, strings.TrimSpace(short)})
		}
	}
	return all
}
