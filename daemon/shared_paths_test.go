package daemon_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedPathsThatCanBeReadInTwoWays asks for what bob may not have, in
// spellings that somebody on the way might read as what he may.
func TestSharedPathsThatCanBeReadInTwoWays(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for _, path := range []string{
		pods + "/../secrets", pods + "/../../team-b/pods", pods + "/./p", pods + "/..", "/.." + secrets, "/api/../api/v1/secrets",
		pods + "/%2e%2e/secrets", pods + "/%2E%2e/secrets", pods + "/.%2e/secrets", pods + "/%2e/p", pods + "/..;/secrets", pods + "/..;a=b/secrets",
		pods + "/%2e%2e%3b/secrets", pods + "%2f..%2fsecrets", pods + "/p%2Fexec", "/api/v1/namespaces/team-a%2f..%2fteam-b/pods", "/api%2fv1/pods",
		"/" + pods, "//evil.example" + pods, "/api//v1/namespaces/team-a/pods", "/api/v1//namespaces/team-a/secrets", pods + "//", pods + "//p",
		pods + "%00", pods + "/p%00/exec", pods + "/%0a", pods + "/%0d%0aX-A:%20b", pods + "/%7f", pods + "/p%09", pods + "/%c0%ae%c0%ae/secrets", pods + "/%ff",
		pods + "/..%5csecrets", pods + `/..\secrets`, pods + "/%5c", `/api\v1\namespaces`, pods + "/%252e%252e/secrets", pods + "/p%252fexec", pods + "/%25",
		pods + "/%", pods + "/%2", pods + "/%zz", pods + "/p%u002f", pods + "/p?watch=1#/exec", "/api/v1/namespaces/team-a/secrets/%2e%2e/pods",
		"/clusters/../api/v1/secrets", "/clusters/test/../api/v1/secrets", "/clusters/test//api/v1/secrets", "/clusters/test/%2e%2e/secrets",
		"/clusters/a%2f../api/v1/namespaces/team-a/pods", "/clusters/%74est/api/v1/namespaces/team-a/pods", "/clusters//api/v1/namespaces/team-a/pods",
		"/clusters", "/clusters/", "/clusters/other" + pods, "/clusters/nobody" + pods, "/clusters/test/clusters/test" + pods, "/clusters/test%00" + pods,
		"/Clusters/test" + pods, "/%63lusters/test" + pods, "http://localhost//api/v1/namespaces/team-a/pods", "http://localhost" + pods + "/../secrets",
		"/api/v1/watch", "/api/v1/proxy", "/api/v1/watch/", "/apis/apps/v1/watch",
	} {
		got := r.ask(t, "GET "+path+" HTTP/1.1\nHost: localhost\nConnection: close\n"+markHeader+": path"+bearer(bobToken))
		if got.Code != 400 && got.Code != 403 {
			t.Errorf("%s: answer %d %s, want 400 or 403", path, got.Code, got.Body)
		}
		for _, q := range r.arrived("path") {
			t.Fatalf("%s: arrived as %s", path, q.Target)
		}
	}
}

// TestSharedPathsArriveAsTheyWereDecidedOn sends spellings that pass: what
// arrives is the very path, and kube-apiserver's reading of it is allowed.
func TestSharedPathsArriveAsTheyWereDecidedOn(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for path, want := range map[string]string{ // as it arrives; "": it does not
		pods:                                 pods,
		pods + "/":                           pods + "/",
		pods + "/p/":                         pods + "/p/",
		pods + "/%70":                        pods + "/%70",
		"/api/v1/n%61mespaces/team-a/pods":   "/api/v1/n%61mespaces/team-a/pods",
		pods + "/a.b..c":                     pods + "/a.b..c",
		pods + "/p;v=1":                      pods + "/p;v=1",
		pods + "/p/log?container=a%2f..":     pods + "/p/log?container=a%2f..",
		pods + "?a=b/../c":                   pods + "?a=b/../c",
		pods + "?":                           pods + "?",
		"/clusters/test" + pods:              pods,
		"/clusters/test" + pods + "/%70?x=1": pods + "/%70?x=1",
		"http://localhost" + pods:            pods,
		"http://LOCALHOST:1" + pods:          pods,
		"/version":                           "/version",
		"/api/":                              "/api/",

		podExec:                                           "",
		podExec + "/":                                     "",
		pods + "/p/%65xec":                                "",
		pods + "/p/e%78ec/":                               "",
		pods + "/p/attach":                                "",
		pods + "/p/portforward":                           "",
		pods + "/p/proxy":                                 "",
		pods + "/p/proxy/":                                "",
		pods + "/p/%70roxy/x":                             "",
		pods + "/p/ephemeralcontainers":                   "",
		pods + "/p/exec/..":                               "",
		"/api/v1/namespaces/team-b/pods":                  "",
		"/api/v1/pods":                                    "",
		secrets:                                           "",
		secrets + "/":                                     "",
		"/api/v1/watch/namespaces/team-a/pods":            "/api/v1/watch/namespaces/team-a/pods",
		"/api/v1/watch/pods":                              "",
		"/api/v1/watch/namespaces/team-a/secrets":         "",
		"/api/v1/proxy/namespaces/team-a/pods/p":          "",
		"/api/v1/proxy/namespaces/team-a/pods/p/x":        "",
		"/api/v1/proxy/nodes/n":                           "",
		"/api/v1/nodes/n/proxy/run":                       "",
		"/apis/apps/v1/namespaces/team-a/deployments":     "",
		"/metrics":                                        "",
		"/logs/":                                          "",
		"/version/":                                       "",
		"/API/v1/namespaces/team-a/pods":                  "",
		"/api/v1/namespaces/team-a/PODS":                  "",
		"/api/v1/namespaces/Team-A/pods":                  "",
		"/api/v1/namespaces/team-a":                       "",
		"/api/v1/namespaces/team-a/pods/p/log/../../../q": "",
	} {
		got := r.ask(t, "GET "+path+" HTTP/1.1\nHost: localhost\n"+markHeader+": as"+path+bearer(bobToken))
		arrived := r.arrived("as" + path)
		switch {
		case want == "" && (len(arrived) > 0 || got.Code != 403 && got.Code != 400):
			t.Errorf("%s: answer %d, arrived %+v; want it refused", path, got.Code, arrived)
		case want == "":
		case got.Code != 200 || len(arrived) != 1 || arrived[0].Target != want:
			t.Errorf("%s: answer %d %s, arrived %+v; want %s", path, got.Code, got.Body, arrived, want)
		default:
			checkArrived(t, arrived[0], asBob())
		}
	}
}

// TestSharedProxyTailsDoNotClimb sends tails of a pod's proxy that lead out of
// it for somebody: they do not arrive, and the others do to the byte.
func TestSharedProxyTailsDoNotClimb(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	const proxy = pods + "/p/proxy/"
	for tail, passes := range map[string]bool{
		"a/../b": true, "a//b": true, "%2f": true, "a%5cb": true, "a/%2e%2e/b": true, "": true, "%ff": true, "x?y=../..": true, "a%2525": true,
		"..": false, "../..": false, "../../../../secrets": false, "%2e%2e/exec": false, "..%2fexec": false, "a/../../exec": false,
		"a%2f..%2f..": false, `..\exec`: false, "..%5cexec": false, "%252e%252e/exec": false, "..;/exec": false, "a//../../exec": false,
		"a/./../../exec": false, "%00": false, "%0d%0a": false, "%zz": false, "%2e%2e%2f%2e%2e%2fsecrets": false, ".%2e": false,
	} {
		got := r.ask(t, "GET "+proxy+tail+" HTTP/1.1\nHost: localhost\n"+markHeader+": tail"+tail+bearer(aliceToken))
		arrived := r.arrived("tail" + tail)
		switch {
		case !passes && (len(arrived) > 0 || got.Code != 400):
			t.Errorf("%s: answer %d, arrived %+v; want 400", tail, got.Code, arrived)
		case passes && (got.Code != 200 || len(arrived) != 1 || arrived[0].Target != proxy+tail):
			t.Errorf("%s: answer %d %s, arrived %+v", tail, got.Code, got.Body, arrived)
		}
	}
}

// TestSharedReadOnlyWhateverTheMethod asks for what runs something, by every
// method and as an upgrade, with a policy of reading alone.
func TestSharedReadOnlyWhateverTheMethod(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for _, path := range []string{
		podExec, podExec + "/", pods + "/p/%65xec", pods + "/p/attach", pods + "/p/portforward", pods + "/p/proxy/x", pods + "/p/ephemeralcontainers",
		"/api/v1/proxy/namespaces/team-a/pods/p/x", "/api", pods, pods + "/p", "/apis/subresources.kubevirt.io/v1/namespaces/team-a/virtualmachineinstances/v/console",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "Post", "WATCH", "PROPFIND"} {
			for _, header := range []string{"", websocket, spdy, "\nX-HTTP-Method-Override: GET", "\nConnection: Upgrade\nUpgrade: h2c"} {
				reads := method == "GET" || method == "HEAD"
				if reads && (path == "/api" || strings.HasPrefix(path, pods) && !strings.HasPrefix(path, pods+"/p/")) {
					continue // what bob may read, as a plain request
				}
				if path == "/api" && method == "get" {
					continue // the same verb, outside of resources
				}
				got := r.ask(t, method+" "+path+" HTTP/1.1\nHost: localhost\nConnection: close\n"+markHeader+": method"+bearer(bobToken)+header)
				if got.Code < 400 {
					t.Errorf("%s %s%s: answer %d %s", method, path, header, got.Code, got.Body)
				}
				for _, q := range r.arrived("method") {
					t.Fatalf("%s %s%s: arrived as %s %s", method, path, header, q.Method, q.Target)
				}
			}
		}
	}
}

// TestSharedMayReadOnlyAndNotUpgrade refuses upgrades of what may be read, and
// lets watches and logs be read through a websocket.
func TestSharedMayReadOnlyAndNotUpgrade(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("*", fakeapi.Upgrade(""))
	for path, want := range map[string]int{
		pods + "?watch=1": 101, pods + "/p/log?follow=1": 101, pods + "/p/log": 101,
		pods + "/p/exec?command=sh": 403, "/clusters/test" + podExec: 403, "/clusters/other" + podExec: 403,
	} {
		w := r.connect("proxy")
		w.send(lines("GET " + path + " HTTP/1.1\nHost: localhost\n" + markHeader + ": up" + path + bearer(bobToken) + websocket))
		if got := w.receive("GET"); got.Code != want {
			t.Errorf("%s: answer %d %s, want %d", path, got.Code, got.Body, want)
		}
		w.conn.Close()
		if n := len(r.arrived("up" + path)); n != map[int]int{101: 1, 403: 0}[want] {
			t.Errorf("%s: %d requests arrived", path, n)
		}
	}
}

// TestSharedClusters reaches another cluster by its path, with that cluster's
// credential, and says of one that is not granted what it says of none.
func TestSharedClusters(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	if got := r.ask(t, "GET /clusters/other"+pods+"?x=1 HTTP/1.1\nHost: localhost\n"+markHeader+": a"+bearer(aliceToken)); got.Code != 200 {
		t.Fatalf("answer %d %s", got.Code, got.Body)
	}
	if n := len(r.seen("a")); n != 0 {
		t.Errorf("%d requests arrived at the cluster of the root", n)
	}
	arrived := r.arrived("a")
	if len(arrived) != 1 || arrived[0].Target != pods+"?x=1" {
		t.Fatalf("arrived %+v", arrived)
	}
	checkArrived(t, arrived[0], http.Header{"Authorization": {"Bearer " + otherToken}, "Impersonate-User": {"alice"}})

	var bodies []string
	for _, name := range []string{"other", "none"} {
		got := r.ask(t, "GET /clusters/"+name+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": b"+bearer(bobToken))
		if got.Code != 403 {
			t.Errorf("%s: answer %d %s", name, got.Code, got.Body)
		}
		bodies = append(bodies, got.Body)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("who asks learns that a cluster exists: %s and %s", bodies[0], bodies[1])
	}
	if arrived := r.arrived("b"); len(arrived) != 0 {
		t.Errorf("arrived %+v", arrived)
	}
}

// TestSharedTokenInTheQueryIsNone takes no credential from a query.
func TestSharedTokenInTheQueryIsNone(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for _, query := range []string{
		"access_token=" + aliceToken, "a=b&access_token=" + aliceToken, "access%5ftoken=" + aliceToken, "%61ccess_token=" + aliceToken,
		"access_token=" + aliceToken + ";", "a;access_token=" + aliceToken, "access_token", "access_token=%zz", "token=" + aliceToken, "Access_Token=" + aliceToken,
	} {
		got := r.ask(t, "GET "+pods+"?"+query+" HTTP/1.1\nHost: localhost\n"+markHeader+": nobody")
		if got.Code != 400 && got.Code != 401 {
			t.Errorf("%s: answer %d %s", query, got.Code, got.Body)
		}
		if strings.Contains(got.Raw, aliceToken) {
			t.Errorf("%s: the answer repeats the token: %s", query, got.Raw)
		}
		// Beside a client's own it makes nobody else of the client.
		r.ask(t, "GET "+pods+"?"+query+" HTTP/1.1\nHost: localhost\n"+markHeader+": bob"+bearer(bobToken))
	}
	if arrived := r.arrived("nobody"); len(arrived) != 0 {
		t.Errorf("arrived %+v", arrived)
	}
	for _, q := range r.arrived("bob") {
		checkArrived(t, q, asBob())
	}
}

// policyOf is a policy of the configuration, ready to decide.
func policyOf(t testing.TB, cfg *config.Configuration, name string) *policy.Policy {
	t.Helper()
	for _, c := range cfg.Policies {
		if c.Name == name {
			p, err := policy.Compile(c)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatalf("there is no policy %s", name)
	return nil
}

// infoOf is kube-apiserver's reading of what arrived.
func infoOf(q fakeapi.Request) (*request.RequestInfo, error) {
	u, err := url.ParseRequestURI(q.Target)
	if err != nil {
		return nil, err
	}
	factory := request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
	return factory.NewRequestInfo(&http.Request{Method: q.Method, URL: u})
}

// TestSharedLegacyProxyIsNoCreate: who may create pods does not reach into them
// by the legacy proxy path.
func TestSharedLegacyProxyIsNoCreate(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Policies[1].Rules = append(cfg.Policies[1].Rules, policy.Rule{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods"}, Namespaces: []string{"team-a"}})
	})
	for _, path := range []string{"/api/v1/proxy/namespaces/team-a/pods/p", "/api/v1/proxy/namespaces/team-a/pods/p/run"} {
		got := r.ask(t, "GET "+path+" HTTP/1.1\nHost: localhost\n"+markHeader+": x"+bearer(bobToken))
		if n := len(r.arrived("x")); n != 0 {
			t.Errorf("%s: answer %d, %d arrived", path, got.Code, n)
		}
	}
}
