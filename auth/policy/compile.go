package policy

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// RuleError is a problem of a policy.
type RuleError struct {
	Rule  int    // index of the rule; -1: the policy itself
	Field string // as it is spelled in the configuration, "resources" or "resources[2]"
	Err   error
}

func (e *RuleError) Error() string {
	if e.Rule < 0 {
		return fmt.Sprintf("%s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("rules[%d].%s: %v", e.Rule, e.Field, e.Err)
}

func (e *RuleError) Unwrap() error { return e.Err }

// Compile makes a policy ready to decide. The error joins a *RuleError for
// each problem there is.
func Compile(c Config) (*Policy, error) {
	p := &Policy{name: c.Name}
	k := &compiler{rule: -1}
	if c.Name == "" {
		k.refuse("name", "a policy needs a name, by which grants refer to it")
	}
	if len(c.Rules) == 0 {
		k.refuse("rules", "there is no rule: a policy allows what its rules say, and nothing without them")
	}
	for i := range c.Rules {
		k.rule = i
		p.rules = append(p.rules, k.compile(&c.Rules[i]))
	}
	if len(k.problems) > 0 {
		return nil, errors.Join(k.problems...)
	}
	return p, nil
}

// compiler collects the problems of a policy.
type compiler struct {
	rule     int
	problems []error
}

func (k *compiler) refuse(field, format string, args ...any) {
	k.problems = append(k.problems, &RuleError{k.rule, field, fmt.Errorf(format, args...)})
}

func (k *compiler) compile(r *Rule) rule {
	forURLs := len(r.Resources) == 0 && len(r.NonResourceURLs) > 0
	switch {
	case len(r.Resources) > 0 && len(r.NonResourceURLs) > 0:
		k.refuse("nonResourceURLs", "a rule has resources or nonResourceURLs: make two rules of it")
	case len(r.Resources) == 0 && len(r.NonResourceURLs) == 0:
		k.refuse("resources", "a rule needs resources, with apiGroups, or nonResourceURLs")
	}
	compiled := rule{verbs: k.verbs(r, !forURLs)}
	k.resources(r, &compiled)
	if forURLs {
		k.resourcesOnly("apiGroups", r.APIGroups)
		k.resourcesOnly("namespaces", r.Namespaces)
		k.resourcesOnly("resourceNames", r.ResourceNames)
	}
	for i, url := range r.NonResourceURLs {
		pattern, err := urlOf(url)
		if err != nil {
			k.refuse(at("nonResourceURLs", i), "%w", err)
		}
		compiled.urls = append(compiled.urls, pattern)
	}
	return compiled
}

func (k *compiler) resourcesOnly(field string, list []string) {
	if len(list) > 0 {
		k.refuse(field, "it is for rules with resources; one with nonResourceURLs cannot have it")
	}
}

func at(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

func (k *compiler) verbs(r *Rule, forResources bool) verbSet {
	if len(r.Verbs) == 0 {
		k.refuse("verbs", `a rule needs verbs, such as get; "*" is every verb`)
	}
	var set verbSet
	for i, verb := range r.Verbs {
		one, err := verbOf(verb, forResources)
		if err != nil {
			k.refuse(at("verbs", i), "%w", err)
		}
		set |= one
	}
	return set
}

func (k *compiler) resources(r *Rule, compiled *rule) {
	if len(r.Resources) > 0 && len(r.APIGroups) == 0 {
		k.refuse("apiGroups", `resources need apiGroups: "" is the group of pods, services and secrets, apps that of deployments, "*" every group`)
	}
	for i, group := range r.APIGroups {
		if err := groupProblem(group); err != nil {
			k.refuse(at("apiGroups", i), "%w", err)
		}
	}
	for i, resource := range r.Resources {
		pattern, err := resourceOf(resource)
		if err != nil {
			k.refuse(at("resources", i), "%w", err)
		}
		compiled.resources = append(compiled.resources, pattern)
	}
	if r.Namespaces != nil && len(r.Namespaces) == 0 {
		k.refuse("namespaces", "it is empty: name some, or leave it out, which means all of them")
	}
	for i, namespace := range r.Namespaces {
		if namespace != every && len(content.IsDNS1123Label(namespace)) > 0 {
			k.refuse(at("namespaces", i), `%s is not the name of a namespace: write names in full, and "*" alone is every one`, quote(namespace))
		}
	}
	if r.ResourceNames != nil && len(r.ResourceNames) == 0 {
		k.refuse("resourceNames", "it is empty: name some, or leave it out, which means all of them")
	}
	for i, name := range r.ResourceNames {
		if strings.Contains(name, every) || name == "" || len(content.IsPathSegmentName(name)) > 0 {
			k.refuse(at("resourceNames", i), "%s is not a name: write names in full; leave resourceNames out to allow all", quote(name))
		}
	}
	compiled.groups, compiled.namespaces, compiled.names = wordsOf(r.APIGroups), wordsOf(r.Namespaces), wordsOf(r.ResourceNames)
}

func groupProblem(group string) error {
	switch {
	case group == "" || group == every:
		return nil
	case group == "core" || group == "v1":
		return fmt.Errorf(`the group of pods, services and secrets is "", not %q`, group)
	case strings.Contains(group, "/"):
		return fmt.Errorf("%s is a group with a version: write the group alone", quote(group))
	case len(content.IsDNS1123Subdomain(group)) > 0:
		return fmt.Errorf(`%s is no API group: groups are in full, such as apps, in lower case, and "*" alone is every one`, quote(group))
	}
	return nil
}

// resourceOf reads "pods", "pods/log", "pods/*", "*/scale" or "*".
func resourceOf(text string) (resourcePattern, error) {
	if text == every {
		return resourcePattern{every, every}, nil
	}
	name, sub, found := strings.Cut(text, "/")
	switch {
	case found && name == every && sub == every:
		return resourcePattern{}, errors.New(`"*/*" is not needed: "*" covers subresources too`)
	case !found && name != every && wordProblem(name), found && (name != every && wordProblem(name) || sub != every && wordProblem(sub)):
		if lower := strings.ToLower(text); lower != text {
			return resourcePattern{}, fmt.Errorf("%s is no resource: resources are plural and in lower case, such as pods or pods/log", quote(text))
		}
		if strings.Contains(name, ".") {
			return resourcePattern{}, fmt.Errorf("%s is no resource: its group goes into apiGroups", quote(text))
		}
		return resourcePattern{}, fmt.Errorf(`%s is not a resource: write it as pods, pods/log, pods/*, */scale or *`, quote(text))
	}
	return resourcePattern{name, sub}, nil
}

// wordProblem reports whether a word cannot be that of a resource.
func wordProblem(word string) bool { return len(content.IsDNS1123Label(word)) > 0 }

func urlOf(text string) (urlPattern, error) {
	path, prefix := strings.CutSuffix(text, every)
	switch {
	case text == every:
		return urlPattern{prefix: true}, nil
	case !strings.HasPrefix(text, "/"):
		return urlPattern{}, fmt.Errorf(`%s does not begin with "/"`, quote(text))
	case strings.Contains(path, every):
		return urlPattern{}, fmt.Errorf(`%s has a "*" before its end: only there it stands for any rest`, quote(text))
	case strings.ContainsAny(path, `?#%\`), strings.Contains(path, "//"):
		return urlPattern{}, fmt.Errorf("%s matches no request: it has to be a decoded path without a query or empty segments", quote(text))
	}
	return urlPattern{path, prefix}, nil
}
