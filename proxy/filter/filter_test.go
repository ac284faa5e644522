package filter_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

func mustNew(t testing.TB, c filter.Config) *filter.Filter {
	t.Helper()
	f, err := filter.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDefaultHosts(t *testing.T) {
	f := mustNew(t, filter.DefaultConfig())
	for host, want := range map[string]bool{
		"localhost":               true,
		"localhost:8001":          true,
		"localhost:":              true,
		"localhost:http":          true,
		"127.0.0.1":               true,
		"127.0.0.1:8001":          true,
		"127.0.0.1:evil":          true,
		"[127.0.0.1]:8001":        true,
		"[::1]":                   true,
		"[::1]:8001":              true, // kubectl: false, kubernetes#77496
		"[::1]:":                  true,
		"":                        false,
		":":                       false,
		":8001":                   false,
		"::1":                     false,
		"[::1":                    false,
		"[::1]x:1":                false,
		"[::2]:8001":              false,
		"[localhost.evil.com]:1":  false,
		"LOCALHOST":               false,
		"localhost.":              false,
		"127.1":                   false,
		"0.0.0.0":                 false,
		"127.0.0.1.evil.com":      false,
		"127.0.0.1.evil.com:8001": false,
		"127a0b0c1":               false,
		"xlocalhost":              false,
		"localhost\n":             false,
		"localhost:80:80":         false,
		"kubernetes.default.svc":  false,
	} {
		if got := f.Broken("GET", "/api/v1/pods", host) == ""; got != want {
			t.Errorf("host %q: allowed %v, want %v", host, got, want)
		}
		if got := f.AllowedHost(host); got != want {
			t.Errorf("AllowedHost(%q) = %v, want %v", host, got, want)
		}
	}
}

func TestDefaultPaths(t *testing.T) {
	f := mustNew(t, filter.DefaultConfig())
	for path, want := range map[string]bool{
		"":                                                          true,
		"/":                                                         true,
		"/api/v1/namespaces/default/pods":                           true,
		"/api/v1/namespaces/default/pods/p":                         true,
		"/api/v1/namespaces/d/pods/p/log":                           true,
		"/api/v1/namespaces/d/pods/p/proxy/":                        true,
		"/api/v1/nodes/n/proxy/exec/d/p/c":                          true,
		"/apis/x/v1/namespaces/d/pods/p/exec":                       true,
		"//api/v1/namespaces/d/pods/p/exec":                         true,
		"/x/api/v1/namespaces/d/pods/p/exec":                        true,
		"/api/v1/namespaces/d/pods/p\n/exec":                        true, // "." stops at a newline.
		"/api/pods/p/exec":                                          true,
		"/api//pods//exec":                                          false,
		"/api/v1/namespaces/d/pods/p/exec":                          false,
		"/api/v1/namespaces/d/pods/p/attach":                        false,
		"/api/v1/namespaces/d/pods/p/executor":                      false,
		"/api/v1/namespaces/d/services/pods/proxy/exec":             false,
		"/api/v1/namespaces/d/pods/p/exec\n":                        false,
		"/api/v1/namespaces/d/pods/\xff/exec":                       false,
		"/api/v1/namespaces/d/pods/p/portforward":                   true,
		"/api/v1/namespaces/d/pods/p/ephemeralcontainers":           true,
		"/api/v1/namespaces/d/pods/p/log/pods/q/attach":             false,
		"/api/v1/namespaces/d/configmaps/pods/exec/pods/a/b/attach": false,
	} {
		if got := f.Broken("GET", path, "localhost") == ""; got != want {
			t.Errorf("path %q: allowed %v, want %v", path, got, want)
		}
	}
}

func TestLists(t *testing.T) {
	with := func(change func(*filter.Config)) filter.Config {
		c := filter.DefaultConfig()
		change(&c)
		return c
	}
	const exec = "/api/v1/namespaces/d/pods/p/exec"
	for _, tt := range []struct {
		name               string
		config             filter.Config
		method, path, host string
		want               bool
	}{
		{"the zero Config accepts nothing", filter.Config{}, "GET", "/", "localhost", false},
		{"no accepted hosts refuses everything", with(func(c *filter.Config) { c.AcceptHosts = filter.SplitList("") }), "GET", "/", "localhost", false},
		{"no accepted paths refuses everything", with(func(c *filter.Config) { c.AcceptPaths = filter.SplitList("") }), "GET", "/", "localhost", false},
		{"no rejected paths lets exec through", with(func(c *filter.Config) { c.RejectPaths = filter.SplitList("") }), "POST", exec, "localhost", true},
		{"no rejected methods lets all methods through", with(func(c *filter.Config) { c.RejectMethods = nil }), "", "/", "localhost", true},
		{"the default rejects the empty method", filter.DefaultConfig(), "", "/", "localhost", false},
		{"disabled lets everything through", filter.Config{Disabled: true}, "POST", exec, "evil.com", true},
		{"disabled compiles nothing", filter.Config{Disabled: true, RejectPaths: []string{"("}}, "GET", "/", "x", true},
		{"a reject wins over an accept", with(func(c *filter.Config) { c.AcceptPaths = []string{"exec"} }), "GET", exec, "localhost", false},
		{"methods are searched, not compared", with(func(c *filter.Config) { c.RejectMethods = filter.SplitList("POST,PUT,PATCH") }), "XPOSTX", "/", "localhost", false},
		{"methods are case-sensitive", with(func(c *filter.Config) { c.RejectMethods = filter.SplitList("POST,PUT,PATCH") }), "post", "/", "localhost", true},
		{"an unlisted method passes", with(func(c *filter.Config) { c.RejectMethods = filter.SplitList("POST,PUT,PATCH") }), "DELETE", "/", "localhost", true},
		{"^*$ matches everything", with(func(c *filter.Config) { c.AcceptHosts = []string{"^*$"} }), "GET", "/", "evil.com", true},
		{"an unanchored host matches within a name", with(func(c *filter.Config) { c.AcceptHosts = []string{"localhost"} }), "GET", "/", "xlocalhost.evil.com:1", true},
		{"an empty pattern between commas matches everything", with(func(c *filter.Config) { c.AcceptHosts = filter.SplitList("a,,b") }), "GET", "/", "evil.com", true},
		{"a bare IPv6 pattern keeps matching a bracketed host with a port", with(func(c *filter.Config) { c.AcceptHosts = []string{"^::1$"} }), "GET", "/", "[::1]:8001", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustNew(t, tt.config).Broken(tt.method, tt.path, tt.host) == ""; got != tt.want {
				t.Errorf("%q, %q, %q: allowed %v, want %v", tt.method, tt.path, tt.host, got, tt.want)
			}
		})
	}
}

// The metric of refused requests says which rule it was.
func TestBroken(t *testing.T) {
	c := filter.DefaultConfig()
	c.RejectMethods = []string{"^DELETE$"}
	c.AcceptPaths = []string{"^/api"}
	f := mustNew(t, c)
	for _, tt := range []struct {
		name, method, path, host string
		want                     filter.Rule
	}{
		{"nothing", "GET", "/api/v1/pods", "localhost:8001", ""},
		{"a rejected path", "POST", "/api/v1/namespaces/d/pods/p/exec", "localhost", filter.Path},
		{"a path that is not accepted", "GET", "/version", "localhost", filter.Path},
		{"a method", "DELETE", "/api/v1/pods/p", "localhost", filter.Method},
		{"a host", "GET", "/api/v1/pods", "evil.com", filter.Host},
		{"several: the first", "DELETE", "/api/v1/pods/p", "evil.com", filter.Method},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.Broken(tt.method, tt.path, tt.host); got != tt.want {
				t.Errorf("Broken(%q, %q, %q) = %q, want %q", tt.method, tt.path, tt.host, got, tt.want)
			}
		})
	}
}

func TestSplitList(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{",", []string{"", ""}},
		{" a , b", []string{" a ", " b"}},
		{"^/a{1,2}$", []string{"^/a{1", "2}$"}},
		{filter.DefaultAcceptHosts, []string{`^localhost$`, `^127\.0\.0\.1$`, `^\[::1\]$`}},
	} {
		if diff := cmp.Diff(tt.want, filter.SplitList(tt.in)); diff != "" {
			t.Errorf("SplitList(%q) (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestRelaxed(t *testing.T) {
	full := filter.DefaultConfig()
	if full.Relaxed() {
		t.Error("the default is called relaxed")
	}
	for name, change := range map[string]func(*filter.Config){
		"no rejected paths":   func(c *filter.Config) { c.RejectPaths = nil },
		"no rejected methods": func(c *filter.Config) { c.RejectMethods = nil },
	} {
		c := filter.DefaultConfig()
		change(&c)
		if !c.Relaxed() {
			t.Errorf("%s: not called relaxed", name)
		}
		if c.Disabled = true; c.Relaxed() {
			t.Errorf("%s, disabled: called relaxed too", name)
		}
	}
}

func TestBadPatternIsNamed(t *testing.T) {
	for list, config := range map[string]filter.Config{
		"acceptHosts":   {AcceptHosts: []string{"ok", "("}},
		"acceptPaths":   {AcceptPaths: []string{"("}},
		"rejectPaths":   {RejectPaths: []string{"("}},
		"rejectMethods": {RejectMethods: []string{"("}},
	} {
		_, err := filter.New(config)
		var bad *filter.PatternError
		if !errors.As(err, &bad) {
			t.Fatalf("New with a bad pattern in %s: %v, want a *PatternError", list, err)
		}
		if bad.List != list || bad.Pattern != "(" {
			t.Errorf("PatternError names %s %q, want %s %q", bad.List, bad.Pattern, list, "(")
		}
		want := "Error compiling re: error parsing regexp: missing closing ): `(` (in " + list + ", where every comma separates two patterns)"
		if bad.Error() != want {
			t.Errorf("got  %s\nwant %s", bad.Error(), want)
		}
	}
}
