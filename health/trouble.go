package health

import (
	"fmt"
	"slices"
)

// commonTrouble describes in one line what is wrong with all targets that
// answer, of total ones: "" if one of them passes, if their troubles differ, or
// if none answers. The only one that answers, of several, shares nothing.
func commonTrouble(check string, answers []answer, total int) string {
	if len(answers) == 0 || len(answers) == 1 && total > 1 {
		return ""
	}
	who := "all API servers"
	switch {
	case total == 1:
		who = "the only API server"
	case len(answers) < total:
		who = fmt.Sprintf("all API servers that answer (%d of %d)", len(answers), total)
	}
	switch {
	case sameKind(answers, Credential):
		return plural(who, "refuse", total) + " the probe's credential"
	case !sameKind(answers, NotReady):
		return ""
	}
	checks := answers[0].checks
	for _, a := range answers[1:] {
		checks = intersect(checks, a.checks)
	}
	if len(checks) == 0 {
		return plural(who, "fail", total) + " " + check
	}
	return plural(who, "fail", total) + " " + check + " check [" + some(checks) + "]"
}

func plural(who, verb string, total int) string {
	if total == 1 {
		verb += "s"
	}
	return who + " " + verb
}

// sameKind reports whether every answer is of that kind.
func sameKind(answers []answer, kind ResultKind) bool {
	return !slices.ContainsFunc(answers, func(a answer) bool { return a.kind != kind })
}
