package policy

import (
	"errors"
	"strings"
	"testing"
)

const podProxy = "/api/v1/namespaces/a/pods/web/proxy/"

func TestPathsThatCanBeReadInOneWayOnlyAreCanonical(t *testing.T) {
	for _, path := range []string{
		"/",
		"/version",
		"/healthz/",
		"/api/v1/namespaces/a/pods/web",
		"/api/v1/namespaces/a/pods/",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
		"/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
		"/api/v1/namespaces/a/pods/web/%65xec",
		"/api/v1/namespaces/a/secrets/..data",
		"/api/v1/namespaces/a/secrets/...",
		"/api/v1/namespaces/a/secrets/a..b",
		"/openapi/v3/apis/apps/v1",
		"/logs/gr%C3%BC%C3%9Fe",
		podProxy,
		podProxy + "/",
		podProxy + "a//b",
		podProxy + "a/../b",
		podProxy + "a/%2e%2E/b",
		podProxy + "a%2Fb",
		podProxy + "a%5cb",
		podProxy + `a\b`,
		podProxy + "a%2f..",
		podProxy + "a%2f..%2fb%2f..",
		podProxy + "a/b/../..",
		podProxy + "100%25",
		podProxy + "%FF",
		podProxy + "gr\xc3\xbc\xc3\x9fe",
		podProxy + "..a/.b/a..",
		"/api/v1/namespaces/a/services/https:web:443/proxy/a//b",
		"/api/v1/nodes/n1/proxy/a//b",
		"/api/v1/nodes/n1/proxy",
	} {
		if err := Canonical(path); err != nil {
			t.Errorf("%q is refused: %v", path, err)
		}
	}
}

func TestPathsThatCanBeReadInTwoWaysAreRefused(t *testing.T) {
	for _, test := range []struct{ path, reason string }{
		{"", "does not begin with a slash"},
		{"*", "does not begin with a slash"},
		{"api", "does not begin with a slash"},
		{"http://kubernetes/api", "does not begin with a slash"},
		{"//", "empty segment"},
		{"//api/v1/pods", "empty segment"},
		{"/api//v1/pods", "empty segment"},
		{"/api/v1/pods//", "empty segment"},
		{"/.", `"."`},
		{"/..", `".."`},
		{"/api/./v1/pods", `"."`},
		{"/api/v1/namespaces/a/../b/secrets", `".."`},
		{"/api/v1/namespaces/../secrets", `".."`},
		{"/api/v1/namespaces/%2e%2e/secrets", `".."`},
		{"/api/v1/namespaces/.%2E/secrets", `".."`},
		{"/api/v1/namespaces/..;x=y/secrets", `".."`},
		{"/api/v1/namespaces/..%3b/secrets", `".."`},
		{"/api/v1/pods/%2e", `"."`},
		{"/api/v1/namespaces/a%2F..%2Fb/secrets", "encoded slash"},
		{"/api/v1/namespaces/a/pods/p%2fexec", "encoded slash"},
		{"/api/v1/namespaces/a/pods/p%5cexec", "backslash"},
		{`/api/v1/namespaces/a\b/secrets`, "backslash"},
		{"/api/v1/namespaces/a/secrets/s%00", "control character"},
		{"/api/v1/namespaces/a/secrets/s%0a", "control character"},
		{"/api/v1/namespaces/a/secrets/s%7F", "control character"},
		{"/api/v1/namespaces/a/secrets/s\x01", "control character"},
		{"/api/v1/namespaces/%252e%252e/secrets", "encoded percent sign"},
		{"/api/v1/namespaces/a/secrets/%", "percent sign that"},
		{"/api/v1/namespaces/a/secrets/%2", "percent sign that"},
		{"/api/v1/namespaces/a/secrets/%zz", "percent sign that"},
		{"/api/v1/namespaces/a/secrets/s#x", "not percent-encoded"},
		{"/api/v1/namespaces/a/secrets/s?x", "not percent-encoded"},
		{"/api/v1/namespaces/a/secrets/a b", "has to be percent-encoded"},
		{"/api/v1/namespaces/a/secrets/gr\xc3\xbc", "has to be percent-encoded"},
		{"/api/v1/namespaces/a/secrets/%FF", "not UTF-8"},
		{"/api/v1/namespaces/a/secrets/%C3/%BC", "not UTF-8"},

		// What comes after …/proxy/ is free, but does not lead out of it.
		{podProxy + "..", "lead out"},
		{podProxy + "../exec", "lead out"},
		{podProxy + "%2e%2e/exec", "lead out"},
		{podProxy + "%252e%252e/exec", "lead out"},
		{podProxy + "..%2fexec", "lead out"},
		{podProxy + "..%252fexec", "lead out"},
		{podProxy + "..%5cexec", "lead out"},
		{podProxy + `..\exec`, "lead out"},
		{podProxy + "..;/exec", "lead out"},
		{podProxy + "/..", "lead out"},
		{podProxy + "./..", "lead out"},
		{podProxy + "a/../..", "lead out"},
		{podProxy + "a//../..", "lead out"},
		{podProxy + "a%2fb/../../exec", "lead out"},
		{podProxy + "a%5cb%2f..%2f..%2fexec", "lead out"},
		{podProxy + "a/..%2f../b", "lead out"},
		{podProxy + "%zz", "percent sign that"},
		{podProxy + "a%00", "control character"},
		{podProxy + "a%0d%0a", "control character"},
		{podProxy + "a\x7f", "control character"},
		{podProxy + "a b", "has to be percent-encoded"},
		{podProxy + "a?b", "not percent-encoded"},
		{podProxy + "a#b", "not percent-encoded"},
	} {
		err := Canonical(test.path)
		var refused *PathError
		if !errors.As(err, &refused) || !strings.Contains(refused.Reason, test.reason) || refused.Path != test.path {
			t.Errorf("%q: got %v, want a PathError because of %s", test.path, err, test.reason)
		}
	}
}

func TestOnlyPlainlySpelledProxyPathsHaveATail(t *testing.T) {
	for _, prefix := range []string{
		"/%61pi/v1/namespaces/a/pods/web/proxy/",
		"/api/%761/namespaces/a/pods/web/proxy/",
		"/api/v1/%6eamespaces/a/pods/web/proxy/",
		"/api/v1/namespaces/a/%70ods/web/proxy/",
		"/api/v1/namespaces/a/pods/web/prox%79/",
		"/api/v1/nodes/n/prox%79/",
		"/api/v1/namespaces/a/pods/web/exec/proxy/",
		"/api/v1/namespaces/a/secrets/web/proxy/",
		"/api/v1/namespaces/a/nodes/web/proxy/",
		"/api/v1/pods/web/proxy/",
		"/api/v1/proxy/namespaces/a/pods/web/",
		"/api/v1/watch/nodes/n/proxy/",
		"/api/v2/nodes/n/proxy/",
		"/apis/apps/v1/namespaces/a/pods/web/proxy/",
		"/x/api/v1/nodes/n/proxy/",
	} {
		if err := Canonical(prefix + "a"); err != nil {
			t.Errorf("%q is refused: %v", prefix+"a", err)
		}
		for _, tail := range []string{"a//b", "a%2Fb", "a/../b", "%25"} {
			if Canonical(prefix+tail) == nil {
				t.Errorf("%q passes, as if it were the path of a proxy", prefix+tail)
			}
		}
	}
	for _, path := range []string{
		"/api/v1/namespaces//pods/web/proxy/a",
		"/api/v1/namespaces/../pods/web/proxy/a",
		"/api/v1/namespaces/a/pods//proxy/a",
		"/api/v1/namespaces/a/pods/%2e%2e/proxy/a",
		"/api/v1/nodes/a%2Fb/proxy/a",
		"/api/v1/nodes//proxy/a",
	} {
		if Canonical(path) == nil {
			t.Errorf("%q passes: what comes before proxy/ is held to the rules too", path)
		}
	}
}

func TestAPathErrorRepeatsOnlySoMuch(t *testing.T) {
	err := Canonical("/" + strings.Repeat("a/", 1000) + "\x1b[2J//")
	if text := err.Error(); len(text) > 400 || strings.Contains(text, "\x1b") {
		t.Errorf("got %d bytes: %s", len(text), text)
	}
	if text := Canonical("/api//v1\n").Error(); !strings.HasPrefix(text, `path "/api//v1\n": `) {
		t.Errorf("got %s", text)
	}
}
