package policy

import (
	"fmt"
	"strings"

	"k8s.io/apiserver/pkg/endpoints/request"
)

// Decision is what a policy says of a request.
type Decision struct {
	// Allowed says whether a rule allows it. The zero Decision denies.
	Allowed bool
	// Rule is the index of the rule that allows it, -1 if none does.
	Rule int
	// Verb is the verb that was needed, and if denied the one that is lacking;
	// "" if the request's is none that a policy knows. See [Request.Verb].
	Verb string

	policy  *Policy
	request *Request
}

// Reason says in a sentence why, for an answer to the client or the audit log:
//
//	get pods/exec "web" in namespace "a" needs the verb create, and no rule of policy "read-only" allows it
//
// It repeats of the request what RequestInfo has, quoted and bounded, and
// nothing of the query.
func (d Decision) Reason() string {
	if d.policy == nil || d.request == nil || d.request.Info == nil {
		return "there is no policy that allows it"
	}
	subject, verb := subject(d.request.Info), d.request.Info.Verb
	switch {
	case d.Allowed:
		return fmt.Sprintf("rules[%d] of policy %q allows to %s %s", d.Rule, d.policy.name, d.Verb, subject)
	case d.Verb == "":
		return fmt.Sprintf("the method of the request for %s is none that a policy can allow", subject)
	case verb == "":
		return fmt.Sprintf("%s needs the verb %s, and no rule of policy %q allows it", subject, d.Verb, d.policy.name)
	case d.Verb != verb:
		return fmt.Sprintf("%s %s needs the verb %s, and no rule of policy %q allows it", plain(verb), subject, d.Verb, d.policy.name)
	}
	return fmt.Sprintf("no rule of policy %q allows to %s %s", d.policy.name, d.Verb, subject)
}

// subject names what a request is for, as kubectl would: pods/exec "web" in
// namespace "a".
func subject(info *request.RequestInfo) string {
	if !info.IsResourceRequest {
		return "the path " + quote(info.Path)
	}
	var b strings.Builder
	b.WriteString(plain(info.Resource))
	if info.APIGroup != "" {
		b.WriteString("." + plain(info.APIGroup))
	}
	if info.Subresource != "" {
		b.WriteString("/" + plain(info.Subresource))
	}
	if info.Name != "" {
		b.WriteString(" " + quote(info.Name))
	}
	if info.Namespace != "" {
		b.WriteString(" in namespace " + quote(info.Namespace))
	}
	return b.String()
}

// plain is a word as it is if it is one, and quoted if it is not.
func plain(word string) string {
	for i := range len(word) {
		if c := word[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return quote(word)
		}
	}
	if word == "" || len(word) > maxQuoted {
		return quote(word)
	}
	return word
}
