package main

import (
	"fmt"
	"strings"
)

// page is a manual page of section 1.
type page struct {
	name, short   string
	version, date string
	text          text
	also          []string // other pages
}

// roff renders the page with the macros of man(7).
func (p page) roff() string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"%s\" \"kuberelay %s\" \"User Commands\"\n", strings.ToUpper(p.name), p.date, escape(p.version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", escape(p.name), escape(p.short))
	b.WriteString(".SH SYNOPSIS\n")
	for _, line := range p.text.section("Usage") {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintf(&b, ".B %s\n", escape(line))
		}
	}
	b.WriteString(".SH DESCRIPTION\n")
	prose(&b, p.text.long)
	for _, s := range p.text.sections {
		switch s.heading {
		case "Usage":
		case "Examples":
			b.WriteString(".SH EXAMPLES\n")
			verbatim(&b, s.lines)
		default:
			fmt.Fprintf(&b, ".SH %s\n", escape(strings.ToUpper(s.heading)))
			entries(&b, s.lines)
		}
	}
	if len(p.also) > 0 {
		b.WriteString(".SH SEE ALSO\n")
		for i, name := range p.also {
			comma := ","
			if i == len(p.also)-1 {
				comma = ""
			}
			fmt.Fprintf(&b, ".BR %s (1)%s\n", escape(name), comma)
		}
	}
	return b.String()
}

// prose writes paragraphs; indented lines are kept as they are.
func prose(b *strings.Builder, text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(paragraph, "  ") {
			verbatim(b, strings.Split(paragraph, "\n"))
			continue
		}
		for line := range strings.SplitSeq(paragraph, "\n") {
			fmt.Fprintln(b, escape(line))
		}
	}
}

func verbatim(b *strings.Builder, lines []string) {
	b.WriteString(".nf\n")
	for line := range strings.SplitSeq(strings.Trim(strings.Join(lines, "\n"), "\n"), "\n") {
		if line == "" {
			b.WriteString(".sp\n")
			continue
		}
		fmt.Fprintln(b, escape(line))
	}
	b.WriteString(".fi\n")
}

// entries writes commands, one a line, and options, which have their meaning
// below, deeper.
func entries(b *strings.Builder, lines []string) {
	for _, line := range lines {
		body := strings.TrimSpace(line)
		switch deep := len(line) - len(strings.TrimLeft(line, " ")); {
		case body == "":
		case deep >= 8:
			fmt.Fprintln(b, escape(body))
		case strings.HasPrefix(body, "-"):
			fmt.Fprintf(b, ".TP\n.B %s\n", escape(strings.TrimSuffix(body, ":")))
		default:
			name, meaning, _ := strings.Cut(body, " ")
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", escape(name), escape(strings.TrimSpace(meaning)))
		}
	}
}

// escape makes text that roff prints as it is.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`,
		"…", `\[u2026]`, "→", `\[u2192]`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
