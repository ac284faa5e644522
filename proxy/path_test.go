package proxy

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
)

var pathCases = []string{
	"/", "/api", "/api/v1/pods/", "//evil.example/x", "///evil.example", `/\evil.example`, `//\evil.example`, "/.//evil.example",
	"/%2e%2e//evil.example", "/a/../..//b", "/a/.", "/a/..", "/a/%2e%2E/b", "/a/.%2e", "/a/...", "/.x/a%2eb", "/%2F%2Fapi", "/%2f",
	"/a%2Fb|c", "/custom", "/custom/", "/custom//x", "/%63ustom/a%2Fb", "/custom%2Fx", "/custom/%2e%2e/b", "/custom/..%2Fb",
	"/a%252e%252e/b", "//x/%252e%252e/api", "/a%00b", "/a%0Ab", "/\u00e9", "/a?b=//..", "/a b", "http://evil.example//x", "*",
	"/%5c%5cevil.example", "/%5C/evil.example", "/;//x", "/:80//x", "/@evil.example//x", "/?", "//?a=/../b",
}

var prefixes = []string{"/", "/custom/", "/api/", "/apiserver/", "/a b/", "custom/", "/{x}/"}

// holdPath checks for one request-target what the rest of the data path relies
// on.
func holdPath(t *testing.T, target, prefix string) {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Path == "" || u.Path == "*" { // refused, or answered, before
		return
	}
	escaped := rawPath(u)
	if decoded, err := url.PathUnescape(escaped); err != nil || decoded != u.Path {
		t.Fatalf("%q: the raw path %q means %q, want %q", target, escaped, decoded, u.Path)
	}
	if i := strings.IndexFunc(escaped, func(r rune) bool { return r > 0x7e || !pathByte[byte(r)] }); i >= 0 {
		t.Fatalf("%q: the raw path %q cannot stand in a request line", target, escaped)
	}
	to := canonical(escaped, prefix)
	if to != escaped {
		holdRedirect(t, target, to, prefix)
		return
	}
	if to != cleanPath(to) {
		t.Fatalf("%q: %q counts as clean, and is not: %q", target, to, cleanPath(to))
	}

	d, e, inside := stripPrefix(prefix, u.Path, escaped)
	if !inside {
		return
	}
	if e == "" || e[0] != '/' || d == "" || d[0] != '/' {
		t.Fatalf("%q behind %q: %q goes upstream, want it to begin with a slash", target, prefix, e)
	}
	// The filter sees d and resolve(d), the upstream e: one that decodes it,
	// and one that resolves dots and slashes as well, see nothing else.
	decoded, err := url.PathUnescape(e)
	if err != nil || decoded != d {
		t.Fatalf("%q behind %q: the filter sees %q, the upstream %q", target, prefix, d, e)
	}
	if path.Clean(decoded) != path.Clean(resolve(d)) {
		t.Fatalf("%q behind %q: the filter sees %q and %q, a hop that cleans %q", target, prefix, d, resolve(d), path.Clean(decoded))
	}
	for segment := range strings.SplitSeq(strings.Trim(e, "/"), "/") {
		if dotSegment(segment) > 0 {
			t.Fatalf("%q behind %q: %q goes upstream with a dot segment", target, prefix, e)
		}
	}
}

// holdRedirect wants a redirect to stay on this host and to be the last.
func holdRedirect(t *testing.T, target, to, prefix string) {
	t.Helper()
	if to == "" || to[0] != '/' || len(to) > 1 && (to[1] == '/' || to[1] == '\\') {
		t.Fatalf("%q is redirected to %q, want it to begin with one slash", target, to)
	}
	if again := canonical(to, prefix); again != to {
		t.Fatalf("%q is redirected to %q, and that to %q", target, to, again)
	}
	w := httptest.NewRecorder()
	http.Redirect(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/elsewhere/x"}}, to, http.StatusTemporaryRedirect)
	if location := w.Header().Get("Location"); location != to {
		t.Fatalf("%q is redirected to %q, and Location says %q", target, to, location)
	}
	base := &url.URL{Scheme: "http", Host: "localhost:8001", Path: "/"}
	if follow, err := base.Parse(to); err != nil || follow.Host != base.Host || follow.Scheme != base.Scheme {
		t.Fatalf("%q is redirected to %q, which a client follows to %v (%v)", target, to, follow, err)
	}
}

func TestPaths(t *testing.T) {
	for _, target := range pathCases {
		for _, prefix := range prefixes {
			holdPath(t, target, prefix)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, target := range pathCases {
		for _, prefix := range prefixes {
			f.Add(target, prefix)
		}
	}
	f.Fuzz(func(t *testing.T, target, prefix string) {
		if !strings.HasSuffix(prefix, "/") || strings.HasPrefix(prefix, "/") && path.Clean(prefix)+"/" != prefix && prefix != "/" {
			return // the configuration sees to that
		}
		holdPath(t, target, prefix)
	})
}

func TestRawPathKeepsEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"/a%2Fb|c":       "/a%2Fb%7Cc",
		"/a%2fb\u00e9":   "/a%2fb%C3%A9",
		"/[x]%20\"":      "/[x]%20%22",
		"/a;b,c=d'(e)!*": "/a;b,c=d'(e)!*",
	} {
		u, err := url.ParseRequestURI(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := rawPath(u); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestCleanPathsCostNothing(t *testing.T) {
	u, err := url.ParseRequestURI("/custom/api/v1/namespaces/default/pods/a%2Fb")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		escaped := rawPath(u)
		if canonical(escaped, "/custom/", "/static/") != escaped {
			t.Error("it is clean")
		}
		d, _, _ := stripPrefix("/custom/", u.Path, escaped)
		if resolve(d) != d {
			t.Error("it is resolved")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a clean path, want none", n)
	}
}
