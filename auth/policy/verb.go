package policy

import (
	"errors"
	"fmt"
	"strings"
)

// verbSet is a set of verbs, a bit for each.
type verbSet uint16

// The verbs of requests for resources come first, then those that only
// requests for other paths have.
var verbNames = [...]string{
	"get", "list", "watch", create, "update", "patch", "delete", "deletecollection",
	"head", "post", "put", "options",
}

// everyVerb is what "*" stands for.
const everyVerb verbSet = 1<<len(verbNames) - 1

// verbBit is the set of one verb; 0 for a verb that is none.
func verbBit(verb string) verbSet {
	for i := range verbNames {
		if verbNames[i] == verb {
			return 1 << i
		}
	}
	return 0
}

// requestVerb reports whether requests for resources, or else for other paths,
// have the verb.
func requestVerb(verb string, forResources bool) bool {
	switch verb {
	case "get", "patch", "delete":
		return true
	case "list", "watch", create, "update", "deletecollection":
		return forResources
	case "head", "post", "put", "options":
		return !forResources
	}
	return false
}

// verbOf reads a verb of a rule.
func verbOf(verb string, forResources bool) (verbSet, error) {
	switch {
	case verb == "*":
		return everyVerb, nil
	case requestVerb(verb, forResources), verb == create: // create is an upgrade elsewhere
		return verbBit(verb), nil
	}
	lower := strings.ToLower(strings.TrimSpace(verb))
	switch lower {
	case "":
		return 0, errors.New("an empty verb")
	case "use", "bind", "escalate", "impersonate", "approve", "sign", "attest":
		return 0, fmt.Errorf("%s is no verb of a request: an API server asks for it while it handles one, and the cluster's own RBAC answers", lower)
	case "proxy":
		return 0, errors.New("proxy is no verb: write the verb create on the resource pods/proxy, services/proxy or nodes/proxy")
	case "connect", "exec":
		return 0, fmt.Errorf("%s is no verb: write the verb create on the resource pods/exec, or what else is connected to", lower)
	}
	meant := nearest(lower, forResources)
	if meant == "" {
		return 0, fmt.Errorf("unknown verb %s: the verbs are %s", quote(verb), strings.Join(verbsOf(forResources), ", "))
	}
	return 0, fmt.Errorf("unknown verb %s: did you mean %s?", quote(verb), meant)
}

// verbsOf are the verbs that a rule may have.
func verbsOf(forResources bool) []string {
	var verbs []string
	for _, verb := range verbNames {
		if requestVerb(verb, forResources) {
			verbs = append(verbs, verb)
		}
	}
	return append(verbs, "*")
}

// nearest is the verb that a wrong one was meant to be, "" if none is near.
func nearest(wrong string, forResources bool) string {
	same := map[string]string{"read": "get", "edit": "update", "modify": "update", "remove": "delete", "all": "*", "any": "*"}
	if forResources {
		same["post"], same["add"], same["put"], same["head"] = create, create, "update", "get"
	} else {
		same["update"], same["list"], same["watch"] = "put", "get", "get"
	}
	if verb, found := same[wrong]; found {
		return verb
	}
	best, least := "", 3
	for _, verb := range verbsOf(forResources) {
		if d := distance(wrong, verb); d < least && d < len(verb) {
			best, least = verb, d
		}
	}
	return best
}

// distance is Levenshtein's between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = min(diagonal, row[j], row[j+1]) + 1
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
