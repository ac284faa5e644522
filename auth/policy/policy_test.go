package policy

import (
	"strings"
	"testing"
)

// mustCompile returns the policy "read-only" of some rules.
func mustCompile(t testing.TB, rules ...Rule) *Policy {
	t.Helper()
	p, err := Compile(Config{Name: "read-only", Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mustParse reads "GET /path?query", or "GET /path?query upgrade".
func mustParse(t testing.TB, line string) *Request {
	t.Helper()
	fields := strings.Fields(line)
	path, query, _ := strings.Cut(fields[1], "?")
	r, err := Parse(fields[0], path, query, len(fields) > 2)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

func list(words ...string) []string { return words }

func TestRulesAllowWhatRBACWould(t *testing.T) {
	core, all := list(""), list("*")
	read := list("get", "list", "watch")
	for _, test := range []struct {
		name           string
		rule           Rule
		allows, denies []string
	}{
		{
			"a resource, and neither its subresources nor others", Rule{Verbs: read, APIGroups: core, Resources: list("pods")},
			list("GET /api/v1/pods", "GET /api/v1/pods?watch=1", "GET /api/v1/namespaces/a/pods/web", "HEAD /api/v1/namespaces/a/pods/web", "GET /api/v1/watch/pods"),
			list("POST /api/v1/namespaces/a/pods", "DELETE /api/v1/namespaces/a/pods", "GET /api/v1/namespaces/a/pods/web/log", "GET /api/v1/secrets",
				"GET /apis/metrics.k8s.io/v1beta1/pods", "GET /version", "PROPFIND /api/v1/pods", "OPTIONS /api/v1/pods"),
		},
		{
			"a subresource alone", Rule{Verbs: read, APIGroups: core, Resources: list("pods/log")},
			list("GET /api/v1/namespaces/a/pods/web/log", "GET /api/v1/namespaces/a/pods/web/log?follow=1 upgrade"),
			list("GET /api/v1/namespaces/a/pods/web", "GET /api/v1/namespaces/a/pods/web/exec", "GET /api/v1/namespaces/a/services/web/log"),
		},
		{
			"every subresource of one resource", Rule{Verbs: all, APIGroups: core, Resources: list("pods/*")},
			list("GET /api/v1/namespaces/a/pods/web/log", "GET /api/v1/namespaces/a/pods/web/exec upgrade"),
			list("GET /api/v1/namespaces/a/pods/web", "GET /api/v1/namespaces/a/services/web/proxy"),
		},
		{
			"one subresource of every resource", Rule{Verbs: list("update"), APIGroups: all, Resources: list("*/scale")},
			list("PUT /apis/apps/v1/namespaces/a/deployments/web/scale", "PUT /apis/example.org/v1/namespaces/a/things/x/scale"),
			list("PUT /apis/apps/v1/namespaces/a/deployments/web", "PUT /apis/apps/v1/namespaces/a/deployments/web/status", "GET /apis/apps/v1/namespaces/a/deployments/web/scale"),
		},
		{
			"everything that is a resource", Rule{Verbs: all, APIGroups: all, Resources: list("*")},
			list("GET /api/v1/pods", "POST /api/v1/namespaces/a/pods/web/exec upgrade", "GET /api/v1/nodes/n/proxy/", "DELETE /apis/apps/v1/deployments", "OPTIONS /api/v1/nodes/n/proxy/x"),
			list("GET /version", "GET /api", "PROPFIND /api/v1/pods", "OPTIONS /api/v1/pods"),
		},
		{
			"reading everything does not reach into pods", Rule{Verbs: read, APIGroups: all, Resources: list("*")},
			list("GET /api/v1/namespaces/a/pods/web/log", "GET /api/v1/namespaces/a/secrets/s", "GET /api/v1/namespaces/a/pods/web/status"),
			list("GET /api/v1/namespaces/a/pods/web/exec", "GET /api/v1/namespaces/a/pods/web/exec upgrade", "GET /api/v1/namespaces/a/pods/web/%65xec/ upgrade",
				"GET /api/v1/namespaces/a/pods/web/attach", "GET /api/v1/namespaces/a/pods/web/portforward", "GET /api/v1/namespaces/a/pods/web/proxy",
				"GET /api/v1/namespaces/a/pods/web/proxy/x", "GET /api/v1/proxy/namespaces/a/pods/web/x", "GET /api/v1/nodes/n/proxy/run/a/b/c",
				"GET /api/v1/namespaces/a/pods/web/ephemeralcontainers", "GET /api/v1/namespaces/a/serviceaccounts/default/token",
				"POST /api/v1/namespaces/a/serviceaccounts/default/token", "GET /api/v1/namespaces/a/pods/web upgrade",
				"GET /apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/vm/vnc upgrade"),
		},
		{
			"named groups", Rule{Verbs: read, APIGroups: list("apps", "batch"), Resources: list("deployments", "jobs")},
			list("GET /apis/apps/v1/deployments", "GET /apis/batch/v1/jobs", "GET /apis/apps/v1/jobs"),
			list("GET /api/v1/deployments", "GET /apis/extensions/v1beta1/deployments"),
		},
		{
			"named namespaces, and what is in none is not in them", Rule{Verbs: list("*"), APIGroups: core, Resources: list("*"), Namespaces: list("a", "b")},
			list("GET /api/v1/namespaces/a/pods", "GET /api/v1/namespaces/b/pods/web", "GET /api/v1/namespaces/a", "GET /api/v1/watch/namespaces/a/pods"),
			list("GET /api/v1/namespaces/c/pods", "GET /api/v1/pods", "GET /api/v1/nodes/a", "GET /api/v1/namespaces", "POST /api/v1/namespaces",
				"GET /api/v1/namespaces?fieldSelector=metadata.name=a", "GET /api/v1/namespaces/A/pods", "GET /api/v1/nodes/a/proxy/namespaces/a/pods"),
		},
		{
			"every namespace, and still not what is in none", Rule{Verbs: read, APIGroups: core, Resources: list("*"), Namespaces: all},
			list("GET /api/v1/namespaces/c/pods", "GET /api/v1/namespaces/c"),
			list("GET /api/v1/pods", "GET /api/v1/nodes/a", "GET /api/v1/namespaces"),
		},
		{
			"no namespaces named is all of them, and what is in none", Rule{Verbs: read, APIGroups: core, Resources: list("*")},
			list("GET /api/v1/namespaces/c/pods", "GET /api/v1/pods", "GET /api/v1/nodes/a"), nil,
		},
		{
			"more namespaces than are compared one by one", Rule{Verbs: read, APIGroups: core, Resources: list("pods"), Namespaces: list("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")},
			list("GET /api/v1/namespaces/a/pods", "GET /api/v1/namespaces/j/pods"),
			list("GET /api/v1/namespaces/k/pods", "GET /api/v1/pods"),
		},
		{
			"named resources", Rule{Verbs: list("*"), APIGroups: core, Resources: list("configmaps", "pods/exec"), ResourceNames: list("web")},
			list("GET /api/v1/namespaces/a/configmaps/web", "PUT /api/v1/namespaces/a/configmaps/web", "POST /api/v1/namespaces/a/pods/web/exec upgrade",
				"GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name=web", "GET /api/v1/configmaps?watch=1&fieldSelector=metadata.name%3Dweb"),
			list("GET /api/v1/namespaces/a/configmaps/db", "GET /api/v1/namespaces/a/configmaps", "POST /api/v1/namespaces/a/configmaps",
				"DELETE /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name=web", "GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name!=web",
				"GET /api/v1/namespaces/a/pods/db/exec upgrade", "GET /api/v1/namespaces/a/configmaps?fieldSelector=metadata.name=web&limit=x"),
		},
		{
			"paths that are no resources", Rule{Verbs: list("get"), NonResourceURLs: list("/version", "/healthz/", "/openapi/*", "/apis*")},
			list("GET /version", "GET /healthz/", "GET /openapi/", "GET /openapi/v3/apis/apps/v1", "GET /apis", "GET /apis/apps"),
			list("GET /version/", "GET /versions", "GET /healthz", "GET /openapi", "HEAD /version", "POST /version", "GET /version upgrade", "GET /apis/apps/v1/deployments", "GET /"),
		},
		{
			"every path", Rule{Verbs: all, NonResourceURLs: all},
			list("GET /", "HEAD /metrics", "POST /x", "OPTIONS /x", "GET /x upgrade"),
			list("GET /api/v1/pods", "PROPFIND /x", "TRACE /x"),
		},
		{
			"upgrades of paths need create", Rule{Verbs: list("create"), NonResourceURLs: list("/x")},
			list("GET /x upgrade"), list("GET /x", "POST /x", "CREATE /x", "DELETE /x upgrade"),
		},
		{
			"asking for an upgrade does not make create of delete", Rule{Verbs: list("get", "create"), APIGroups: core, Resources: list("*")},
			list("GET /api/v1/namespaces/a/pods/web upgrade", "POST /api/v1/namespaces/a/pods/web/exec upgrade", "DELETE /api/v1/namespaces/a/services/web/proxy/x"),
			list("DELETE /api/v1/namespaces/a/pods/web upgrade", "PATCH /api/v1/namespaces/a/pods/web upgrade", "DELETE /api/v1/namespaces/a/pods/web"),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := mustCompile(t, test.rule)
			for _, line := range test.allows {
				if d := p.Decide(mustParse(t, line)); !d.Allowed || d.Rule != 0 {
					t.Errorf("%s: denied: %s", line, d.Reason())
				}
			}
			for _, line := range test.denies {
				if d := p.Decide(mustParse(t, line)); d.Allowed || d.Rule != -1 {
					t.Errorf("%s: %s", line, d.Reason())
				}
			}
		})
	}
}

func TestTheFirstRuleThatAllowsIsNamed(t *testing.T) {
	p := mustCompile(t,
		Rule{Verbs: list("get"), NonResourceURLs: list("/version")},
		Rule{Verbs: list("list"), APIGroups: list(""), Resources: list("pods")},
		Rule{Verbs: list("*"), APIGroups: list(""), Resources: list("pods")},
	)
	for line, want := range map[string]int{"GET /version": 0, "GET /api/v1/pods": 1, "DELETE /api/v1/namespaces/a/pods/web": 2, "GET /healthz": -1} {
		if d := p.Decide(mustParse(t, line)); d.Rule != want {
			t.Errorf("%s: rule %d, want %d", line, d.Rule, want)
		}
	}
}

func TestWhatWasNotParsedIsDenied(t *testing.T) {
	p := mustCompile(t, Rule{Verbs: list("*"), APIGroups: list("*"), Resources: list("*")}, Rule{Verbs: list("*"), NonResourceURLs: list("*")})
	var none *Policy
	for name, d := range map[string]Decision{
		"no request":     p.Decide(nil),
		"a zero request": p.Decide(&Request{}),
		"no policy":      none.Decide(mustParse(t, "GET /version")),
		"zero":           {},
	} {
		if d.Allowed || d.Reason() != "there is no policy that allows it" {
			t.Errorf("%s: allowed %v, %s", name, d.Allowed, d.Reason())
		}
	}
}

func TestReasonSaysWhatIsLacking(t *testing.T) {
	p := mustCompile(t, Rule{Verbs: list("get", "create"), APIGroups: list(""), Resources: list("pods")}, Rule{Verbs: list("get"), NonResourceURLs: list("/version")})
	for _, test := range []struct{ line, want string }{
		{"GET /api/v1/namespaces/a/pods/web/exec upgrade", `get pods/exec "web" in namespace "a" needs the verb create, and no rule of policy "read-only" allows it`},
		{"GET /api/v1/proxy/nodes/n/run", `proxy nodes "n" needs the verb create, and no rule of policy "read-only" allows it`},
		{"OPTIONS /api/v1/nodes/n/proxy/", `nodes/proxy "n" needs the verb create, and no rule of policy "read-only" allows it`},
		{"DELETE /apis/apps/v1/namespaces/a/deployments", `no rule of policy "read-only" allows to deletecollection deployments.apps in namespace "a"`},
		{"DELETE /api/v1/namespaces/a/pods/web upgrade", `no rule of policy "read-only" allows to delete pods "web" in namespace "a"`},
		{"PROPFIND /api/v1/nodes/n", `the method of the request for nodes "n" is none that a policy can allow`},
		{"GET /metrics", `no rule of policy "read-only" allows to get the path "/metrics"`},
		{"GET /metrics upgrade", `get the path "/metrics" needs the verb create, and no rule of policy "read-only" allows it`},
		{"GET /api/v1/namespaces/a%22/p%20ods/b", `no rule of policy "read-only" allows to get "p ods" "b" in namespace "a\""`},
		{"GET /api/v1/namespaces/a/pods/web", `rules[0] of policy "read-only" allows to get pods "web" in namespace "a"`},
		{"GET /version?token=canary", `rules[1] of policy "read-only" allows to get the path "/version"`},
	} {
		if got := p.Decide(mustParse(t, test.line)).Reason(); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.line, got, test.want)
		}
	}
	long := p.Decide(mustParse(t, "GET /api/v1/"+strings.Repeat("x", 10000)+"/"+strings.Repeat("y", 10000))).Reason()
	if len(long) > 600 {
		t.Errorf("a reason of %d bytes", len(long))
	}
}
