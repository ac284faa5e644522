package daemon_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedRedirectsLeadNowhereElse: the credential follows no redirect, and
// neither does a client.
func TestSharedRedirectsLeadNowhereElse(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	evil := fakeapi.New(t, fakeapi.Options{})
	own := r.Servers[0].URL
	for name, c := range map[string]struct {
		code           int
		location, want string // "": 502 and no Location
	}{
		"another server":         {302, evil.URL + "/x", ""},
		"another server, 307":    {307, evil.URL + "/x", ""},
		"another server, 201":    {201, evil.URL + "/x", ""},
		"another server, 200":    {200, evil.URL + "/x", ""},
		"without a scheme":       {302, "//" + evil.Addr + "/x", ""},
		"three slashes":          {302, "///" + evil.Addr + "/x", ""},
		"another port":           {302, "https://127.0.0.1:1/x", ""},
		"with a user":            {302, "https://" + r.Servers[0].Addr + "@" + evil.Addr + "/x", ""},
		"its own origin":         {302, own + "/api/v1/x?y=z", "/api/v1/x?y=z"},
		"its own, with a user":   {302, strings.Replace(own, "://", "://u:p@", 1) + "/api", "/api"},
		"a path":                 {301, "/api/v1/x/", "/api/v1/x/"},
		"a path of a new object": {201, "/api/v1/x/y", "/api/v1/x/y"},
	} {
		r.all("GET "+pods, fakeapi.Respond(c.code, "body", "Location", c.location))
		got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken))
		if want := map[bool]int{true: 502, false: c.code}[c.want == ""]; got.Code != want || got.Header.Get("Location") != c.want {
			t.Errorf("%s: answer %d %v, want %d and Location %q", name, got.Code, got.Header, want, c.want)
		}
		if strings.Contains(got.Raw, evil.Addr) || strings.Contains(got.Raw, brokerToken) {
			t.Errorf("%s: answer %s", name, got.Raw)
		}
	}
	if n := len(evil.Requests()); n != 0 {
		t.Errorf("the other server received %d requests", n)
	}
}

// TestSharedRedirectsStayInTheirCluster: a redirect of a cluster under
// /clusters/NAME leads to a path under that, and not to the root's cluster.
func TestSharedRedirectsStayInTheirCluster(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	proxy := "/api/v1/namespaces/team-a/services/s/proxy"
	r.Other.Handle("GET "+proxy, fakeapi.Respond(301, "", "Location", proxy+"/"))
	r.Other.Handle("POST "+pods, fakeapi.Respond(307, "", "Location", r.Other.URL+secrets))
	for _, request := range []string{"GET /clusters/other" + proxy, "POST /clusters/other" + pods} {
		got := r.ask(t, request+" HTTP/1.1\nHost: localhost\nContent-Length: 0"+bearer(aliceToken))
		if location := got.Header.Get("Location"); got.Code < 400 && !strings.HasPrefix(location, "/clusters/other/") {
			t.Errorf("%s: %d to %s, which is at the cluster of the root", request, got.Code, location)
		}
	}
}

// TestSharedRedirectsDoNotClimb: dot segments in a Location do not lead from one
// cluster to another.
func TestSharedRedirectsDoNotClimb(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for _, location := range []string{
		"/../../api/v1/namespaces/team-a/secrets", "../../../../../../../api/v1/namespaces/team-a/secrets", "/%2e%2e/%2e%2e" + secrets,
		"/clusters/test" + secrets, "./../../../../../../.." + secrets,
	} {
		r.Other.Handle("POST "+pods, fakeapi.Respond(307, "", "Location", location))
		base, _ := http.NewRequest("POST", "http://localhost/clusters/other"+pods, nil)
		got := r.ask(t, "POST /clusters/other"+pods+" HTTP/1.1\nHost: localhost\nContent-Length: 0"+bearer(aliceToken))
		if got.Code >= 400 {
			continue
		}
		to, err := base.URL.Parse(got.Header.Get("Location")) // as net/http's client does
		if err == nil && !strings.HasPrefix(to.Path, "/clusters/other/") {
			t.Errorf("%s: the client goes on to %s", location, to)
		}
	}
}

// TestSharedRedirectsThatSomeReadDifferently: a Location does not pass that some
// clients take for another server's.
func TestSharedRedirectsThatSomeReadDifferently(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for name, locations := range map[string][]string{
		"scheme without slashes": {"Location", "https:evil.example/x"},
		"backslashes":            {"Location", `\\evil.example\x`},
		"slash and backslash":    {"Location", `/\evil.example/x`},
		"scheme and backslashes": {"Location", `https:\\evil.example/x`},
		"two":                    {"Location", "/x", "Location", "https://evil.example/x"},
		"refresh":                {"Refresh", "0; url=https://evil.example/"},
		"tab":                    {"Location", "/\t/evil.example"},
	} {
		r.all("GET "+pods, fakeapi.Respond(302, "", locations...))
		got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken))
		if strings.Contains(got.Raw, "evil.example") {
			t.Errorf("%s: %d %q", name, got.Code, got.Header)
		}
	}
}
