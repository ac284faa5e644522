package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// problems are the RuleErrors that an error joins, as texts.
func problems(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("not joined: %v", err)
	}
	var texts []string
	for _, one := range joined.Unwrap() {
		var problem *RuleError
		if !errors.As(one, &problem) || problem.Unwrap() == nil {
			t.Fatalf("not a RuleError: %v", one)
		}
		texts = append(texts, problem.Error())
	}
	return texts
}

func TestCompileRefusesWhatARuleCannotMean(t *testing.T) {
	pods := func(change func(*Rule)) Rule {
		r := Rule{Verbs: list("get"), APIGroups: list(""), Resources: list("pods")}
		change(&r)
		return r
	}
	urls := func(change func(*Rule)) Rule {
		r := Rule{Verbs: list("get"), NonResourceURLs: list("/version")}
		change(&r)
		return r
	}
	for _, test := range []struct {
		name string
		rule Rule
		want []string // the beginning of each problem, after "rules[0]."
	}{
		{"nothing at all", Rule{}, list("resources: a rule needs resources", "verbs: a rule needs verbs")},
		{"no verbs", pods(func(r *Rule) { r.Verbs = nil }), list("verbs: a rule needs verbs")},
		{"a typing error", pods(func(r *Rule) { r.Verbs = list("get", "lsit") }), list(`verbs[1]: unknown verb "lsit": did you mean list?`)},
		{"capitals", pods(func(r *Rule) { r.Verbs = list("deleteCollection") }), list(`verbs[0]: unknown verb "deleteCollection": did you mean deletecollection?`)},
		{"a method for a resource", pods(func(r *Rule) { r.Verbs = list("post") }), list(`verbs[0]: unknown verb "post": did you mean create?`)},
		{"a word that means everything", pods(func(r *Rule) { r.Verbs = list("all") }), list(`verbs[0]: unknown verb "all": did you mean *?`)},
		{"a word that is far from all verbs", pods(func(r *Rule) { r.Verbs = list("frobnicate") }), list(`verbs[0]: unknown verb "frobnicate": the verbs are get, list, watch, create, update, patch, delete, deletecollection, *`)},
		{"a verb that no request has", pods(func(r *Rule) { r.Verbs = list("impersonate") }), list("verbs[0]: impersonate is no verb of a request")},
		{"another one", pods(func(r *Rule) { r.Verbs = list("escalate", "bind", "use") }), list("verbs[0]: escalate is no verb", "verbs[1]: bind is no verb", "verbs[2]: use is no verb")},
		{"a subresource as a verb", pods(func(r *Rule) { r.Verbs = list("exec", "proxy") }), list("verbs[0]: exec is no verb", "verbs[1]: proxy is no verb")},
		{"an empty verb", pods(func(r *Rule) { r.Verbs = list("") }), list("verbs[0]: an empty verb")},
		{"a verb of resources for a path", urls(func(r *Rule) { r.Verbs = list("list", "update") }), list(`verbs[0]: unknown verb "list": did you mean get?`, `verbs[1]: unknown verb "update": did you mean put?`)},
		{"no groups", pods(func(r *Rule) { r.APIGroups = nil }), list("apiGroups: resources need apiGroups")},
		{"a group that is not called that", pods(func(r *Rule) { r.APIGroups = list("core", "v1") }), list(`apiGroups[0]: the group of pods, services and secrets is "", not "core"`, "apiGroups[1]: the group")},
		{"a group with its version", pods(func(r *Rule) { r.APIGroups = list("apps/v1") }), list(`apiGroups[0]: "apps/v1" is a group with a version`)},
		{"a pattern of groups", pods(func(r *Rule) { r.APIGroups = list("*.k8s.io") }), list(`apiGroups[0]: "*.k8s.io" is no API group`)},
		{"a kind", pods(func(r *Rule) { r.Resources = list("Pod") }), list(`resources[0]: "Pod" is no resource: resources are plural and in lower case`)},
		{"a resource with its group", pods(func(r *Rule) { r.Resources = list("deployments.apps") }), list(`resources[0]: "deployments.apps" is no resource: its group goes into apiGroups`)},
		{"a resource that was excluded", pods(func(r *Rule) { r.Resources = list("*", "!secrets") }), list(`resources[1]: "!secrets" is not a resource`)},
		{"an empty resource", pods(func(r *Rule) { r.Resources = list("", "pods/", "/log", "pods/log/x") }), list("resources[0]: ", "resources[1]: ", "resources[2]: ", "resources[3]: ")},
		{"stars on both sides", pods(func(r *Rule) { r.Resources = list("*/*") }), list(`resources[0]: "*/*" is not needed`)},
		{"a pattern of namespaces", pods(func(r *Rule) { r.Namespaces = list("a", "team-*", "") }), list(`namespaces[1]: "team-*" is not the name of a namespace`, "namespaces[2]: ")},
		{"no namespaces where there should be some", pods(func(r *Rule) { r.Namespaces = list() }), nil},
		{"an empty list of namespaces", pods(func(r *Rule) { r.Namespaces = []string{} }), list("namespaces: it is empty")},
		{"an empty list of names", pods(func(r *Rule) { r.ResourceNames = []string{} }), list("resourceNames: it is empty")},
		{"a pattern of names", pods(func(r *Rule) { r.ResourceNames = list("web-*", "", "a/b", "..") }), list(`resourceNames[0]: "web-*" is not a name`, "resourceNames[1]", "resourceNames[2]", "resourceNames[3]")},
		{"resources and paths", pods(func(r *Rule) { r.NonResourceURLs = list("/version") }), list("nonResourceURLs: a rule has resources or nonResourceURLs")},
		{
			"what is for resources, for paths", urls(func(r *Rule) { r.APIGroups, r.Namespaces, r.ResourceNames = list(""), list("a"), list("b") }),
			list("apiGroups: it is for rules with resources", "namespaces: it is for rules with resources", "resourceNames: it is for rules with resources"),
		},
		{"a path that is none", urls(func(r *Rule) { r.NonResourceURLs = list("version", "") }), list(`nonResourceURLs[0]: "version" does not begin with "/"`, "nonResourceURLs[1]: ")},
		{"a star in a path", urls(func(r *Rule) { r.NonResourceURLs = list("/apis/*/v1", "/apis/**") }), list(`nonResourceURLs[0]: "/apis/*/v1" has a "*" before its end`, "nonResourceURLs[1]: ")},
		{"a path that no request has", urls(func(r *Rule) { r.NonResourceURLs = list("/a?b", "//a", "/a%2Fb") }), list("nonResourceURLs[0]: ", "nonResourceURLs[1]: ", "nonResourceURLs[2]: ")},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := Compile(Config{Name: "p", Rules: []Rule{test.rule}})
			got := problems(t, err)
			if len(got) != len(test.want) || (p == nil) != (len(test.want) > 0) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], "rules[0]."+test.want[i]) {
					t.Errorf("got %s, want %s", got[i], test.want[i])
				}
			}
		})
	}
}

func TestCompileReportsAllProblemsAtOnce(t *testing.T) {
	good := Rule{Verbs: list("get"), NonResourceURLs: list("/version", "/apis/*", "*")}
	_, err := Compile(Config{Rules: []Rule{good, {Verbs: list("get"), Resources: list("Pods")}, good, {NonResourceURLs: list("x")}}})
	var got []string
	for _, text := range problems(t, err) {
		field, _, _ := strings.Cut(text, ": ")
		got = append(got, field)
	}
	want := list("name", "rules[1].apiGroups", "rules[1].resources[0]", "rules[3].verbs", "rules[3].nonResourceURLs[0]")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if got := problems(t, func() error { _, err := Compile(Config{Name: "p"}); return err }()); len(got) != 1 || !strings.HasPrefix(got[0], "rules: there is no rule") {
		t.Errorf("a policy without rules: %q", got)
	}
}

func TestAPolicyDoesNotChangeWithItsConfig(t *testing.T) {
	c := Config{Name: "p", Rules: []Rule{{Verbs: list("get"), APIGroups: list(""), Resources: list("pods"), Namespaces: list("a")}}}
	p, err := Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Rules[0].Namespaces[0], c.Rules[0].Resources[0], c.Rules[0].APIGroups[0] = "b", "secrets", "apps"
	if !p.Decide(mustParse(t, "GET /api/v1/namespaces/a/pods/web")).Allowed {
		t.Error("the policy is another one now")
	}
}
