package daemon_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestParityRedirects holds what is redirected before anything else looks at
// the request, and that no Location leaves the host.
func TestParityRedirects(t *testing.T) {
	t.Parallel()
	plain, custom := parity(t), parity(t, withPrefix("/custom/"))
	for i, c := range []struct {
		name     string
		relay    *relay
		target   string
		location string // "": not redirected
	}{
		{"two slashes at the beginning", plain, "//api/v1/pods", "/api/v1/pods"},
		{"another host in front", plain, "//evil.example/x", "/evil.example/x"},
		{"three slashes", plain, "///evil.example/x", "/evil.example/x"},
		{"another host after a dot segment", plain, "/.//evil.example", "/evil.example"},
		{"another host after encoded dots", plain, "/%2e%2e//evil.example/", "/evil.example/"},
		{"a backslash for browsers that take it for a slash", plain, `//\evil.example/x`, "/%5Cevil.example/x"},
		{"slashes inside", plain, "/api//v1///pods", "/api/v1/pods"},
		{"slashes at the end", plain, "/api/v1/pods//", "/api/v1/pods/"},
		{"a dot segment", plain, "/api/./v1", "/api/v1"},
		{"a dot at the end", plain, "/api/v1/.", "/api/v1/"},
		{"two dots", plain, "/x/../api/v1", "/api/v1"},
		{"two dots at the end", plain, "/api/v1/..", "/api/"},
		{"above the root", plain, "/../../api", "/api"},
		{"encoded dots", plain, "/x/%2e%2E/api/v1", "/api/v1"},
		{"one dot encoded", plain, "/x/%2e./api/v1", "/api/v1"},
		{"an encoded dot segment", plain, "/%2e/api/v1", "/api/v1"},
		{"the query is kept to the byte", plain, "//api?a=1;b=2&c=%zz&d=/../e//f#g", "/api?a=1;b=2&c=%zz&d=/../e//f#g"},
		{"an empty query is kept", plain, "//api?", "/api?"},
		{"other escapes are kept", plain, "/a%2Fb//c%20d", "/a%2Fb/c%20d"},
		{"no path", plain, "http://localhost", "/"},
		{"the prefix without its slash", custom, "/custom", "/custom/"},
		{"the prefix without its slash, with a query", custom, "/custom?a=b", "/custom/?a=b"},
		{"out of the prefix", custom, "/custom/%2e%2e/b", "/b"},
		{"dots in a name", plain, "/api/v1/a..b", ""},
		{"three dots", plain, "/api/v1/...", ""},
		{"a name that begins with a dot", plain, "/api/v1/.x/a%2eb", ""},
		{"a name that begins with an encoded dot", plain, "/api/v1/%2ex", ""},
		{"slashes and dots in the query", plain, "/api/v1?a=//..//", ""},
		{"a slash at the end", plain, "/api/v1/pods/", ""},
	} {
		// The redirect comes before the filter: the Host may be anyone's.
		for _, host := range []string{"localhost", "evil.example"} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				mark := fmt.Sprintf("%d %s %s", i, host, method)
				got := c.relay.ask(t, method+" "+strings.Replace(c.target, "localhost", host, 1)+" HTTP/1.1\nHost: "+host+"\n"+markHeader+": "+mark)
				if c.location == "" {
					if got.Code == 307 || got.Header.Get("Location") != "" {
						t.Errorf("%s: %s %s is redirected to %q, want it not", c.name, method, c.target, got.Header.Get("Location"))
					}
					continue
				}
				if got.Code != 307 || got.Header.Get("Location") != c.location {
					t.Errorf("%s: %s %s answers %d, Location %q, want 307 and %q", c.name, method, c.target, got.Code, got.Header.Get("Location"), c.location)
				}
				if n := len(c.relay.seen(mark)); n != 0 {
					t.Errorf("%s: %d requests went upstream", c.name, n)
				}
				if html := strings.Contains(got.Body, "<a href="); html != (method == "GET") {
					t.Errorf("%s: the body of the answer to %s is %q", c.name, method, got.Body)
				}
			}
		}
	}
}

// TestParityPathsAndQueriesGoUpstreamAsTheyAre compares the request-target
// that the API server sees with the client's.
func TestParityPathsAndQueriesGoUpstreamAsTheyAre(t *testing.T) {
	t.Parallel()
	const same = "="
	for prefix, cases := range map[string][][2]string{
		"/": {
			{"/", same},
			{"/api/v1/pods/", same},
			{"/a%2Fb", same},
			{"/a%2fb", same},
			{"/%2F%2Fapi", same},
			{"/a%20b", same},
			{"/a+b", same},
			{"/a;b", same},
			{"/a%3Bb", same},
			{"/a%25b", same},
			{"/a%3Fb", same},
			{"/a%00b", same},
			{"/a%0Ab", same},
			{"/a%23b", same},
			{"/%41%c3%a9", same},
			{"/a:b@c,d=e&f$g!h'i(j)k*l~m-n_o.p[q]", same},
			{"/a\\b", "/a%5Cb"},
			{"/a|b", "/a%7Cb"},
			{`/a"b`, "/a%22b"},
			{"/a<b>", "/a%3Cb%3E"},
			{"/a^b", "/a%5Eb"},
			{"/a`b", "/a%60b"},
			{"/{a}", "/%7Ba%7D"},
			{"/a#b", "/a%23b"},
			{"/\u00e9", "/%C3%A9"},
			{"/a%2Fb|c%20d", "/a%2Fb%7Cc%20d"}, // one odd byte does not change the others
			{"/a?", same},
			{"/a??b", same},
			{"/a?a=1;b=2&c=%zz#frag", same},
			{"/a?b=|{}<>\"^`\\\u00e9&c=/../d//e", same},
			{"/api/v1/namespaces/a%2Fb/pods?watch=true&x=%zz;y#z", same}, // over HTTP/2
			{"/api/v1/pods?watch", same},
			{"http://localhost/a%2Fb?c", "/a%2Fb?c"},
			{"https://localhost:1/a", "/a"},
		},
		"/custom/": {
			{"/custom/", "/"},
			{"/custom/api/v1/pods?a=%zz", "/api/v1/pods?a=%zz"},
			{"/custom/a%2Fb", "/a%2Fb"},
			{"/custom/%2Fb", "/%2Fb"},
			{"/%63ustom/a%2Fb%20c", "/a%2Fb%20c"},
			{"/custom/..%2Fb", "/..%2Fb"},
		},
		"/api/":       {{"/api/v1/pods", same}, {"/api/", same}},
		"/apiserver/": {{"/apiserver/api/v1/pods", same}},
		"/{x} y/":     {{"/%7Bx%7D%20y/a%2Fb", "/a%2Fb"}},
	} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			r := parity(t, withPrefix(prefix))
			for i, c := range cases {
				mark := fmt.Sprint(prefix, i)
				want := c[1]
				if want == same {
					want = c[0]
				}
				got := r.ask(t, "GET "+c[0]+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark)
				if got.Code != 200 || got.Body != "fine" {
					t.Errorf("%q answers %d %q", c[0], got.Code, got.Body)
					continue
				}
				if q := r.one(mark); q.Target != want {
					t.Errorf("%q arrives as %q, want %q", c[0], q.Target, want)
				}
			}
		})
	}
}

// TestParityOutsideThePrefix gets kubectl proxy's 404, to the byte and before
// the filter.
func TestParityOutsideThePrefix(t *testing.T) {
	t.Parallel()
	const notFound = "HTTP/1.1 404 Not Found\nContent-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff\nContent-Length: 19"
	for prefix, targets := range map[string][]string{
		"/custom/": {"/", "/other", "/customx", "/api/v1/pods", "/%2Fcustom/"},
		"/api/":    {"/version", "/apis/apps/v1", "/"},
		"custom/":  {"/custom/", "/custom/x", "/custom", "/"},
	} {
		r := parity(t, withPrefix(prefix))
		for _, target := range targets {
			for _, host := range []string{"localhost", "evil.example"} {
				got := r.ask(t, "GET "+target+" HTTP/1.1\nHost: "+host+"\n"+markHeader+": x")
				if got.head() != notFound || got.Body != "404 page not found\n" {
					t.Errorf("prefix %s: %s answers\n%s\n\n%q", prefix, target, got.head(), got.Body)
				}
			}
		}
		if n := len(r.seen("x")); n != 0 {
			t.Errorf("prefix %s: %d requests went upstream", prefix, n)
		}
	}
}
