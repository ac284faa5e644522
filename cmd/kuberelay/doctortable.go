package main

import (
	"fmt"
	"strings"

	"github.com/kuberelay/kuberelay/internal/doctor"
)

// signs are the verdicts at a glance.
var signs = map[doctor.Verdict]string{doctor.OK: "✓", doctor.Warning: "!", doctor.Failed: "✗"}

// findingsTable renders findings for people: grouped by what they are of, each
// with its verdict and, where something is to be done, what; at the end, how
// many there are of each.
func findingsTable(found []doctor.Finding) string {
	width := 0
	counts := make(map[doctor.Verdict]int)
	for _, f := range found {
		width = max(width, len(f.Check))
		counts[f.Verdict]++
	}
	var b strings.Builder
	of := ""
	for i, f := range found {
		if f.Of != of || i == 0 {
			of = f.Of
			if i > 0 {
				b.WriteString("\n")
			}
			b.WriteString(printable(of) + "\n")
		}
		fmt.Fprintf(&b, "  %s %-*s  %s\n", signs[f.Verdict], width, f.Check, printable(f.Text))
		if f.Do != "" {
			fmt.Fprintf(&b, "    %*s→ %s\n", width+2, "", printable(f.Do))
		}
	}
	fmt.Fprintf(&b, "\n%s: %d ok, %s, %d failed\n", count(len(found), "check"), counts[doctor.OK], count(counts[doctor.Warning], "warning"), counts[doctor.Failed])
	return b.String()
}
