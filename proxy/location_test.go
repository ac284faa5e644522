package proxy

import (
	"net/url"
	"testing"

	"github.com/kuberelay/kuberelay/internal/h1"
)

// TestParseLocationReadsWhatAllClientsReadAlike refuses what one client takes
// for a path and another for a server, or for a dot segment.
func TestParseLocationReadsWhatAllClientsReadAlike(t *testing.T) {
	for location, want := range map[string]bool{
		"/api/v1/pods?limit=1#top":       true,
		"https://api:6443/api":           true,
		"//api:6443/api":                 true,
		"pods":                           true,
		"../pods":                        true,
		"":                               true,
		"?limit=1":                       true,
		"/api/v1/namespaces/a%2Fb":       true,
		"/a%2eb/c":                       true, // a name with a dot in it
		"https:evil.example/x":           false,
		"https:/evil.example/x":          false,
		"https:///evil.example/x":        false,
		"mailto:a@b":                     false,
		"javascript:x":                   false,
		`/\evil.example/x`:               false,
		`\\evil.example\x`:               false,
		`https:\\evil.example/x`:         false,
		" /api":                          false,
		"/a b":                           false,
		"/a\tb":                          false,
		"/a\r\nX: y":                     false,
		"/a\x00b":                        false,
		"/a\x7fb":                        false,
		"/a\u00e9b":                      false,
		"/%zz":                           false,
		"https://[::1/x":                 false,
		"/api/%2e%2e/x":                  false,
		"/api/.%2E/x":                    false,
		"/api/%2e":                       false,
		"%2e%2e/x":                       false,
		"https://api:6443/%2e%2e/secret": false,
	} {
		if u, ok := parseLocation(location); ok != want || ok != (u != nil) {
			t.Errorf("%q: %v, %t, want %t", location, u, ok, want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for location, want := range map[string]bool{
		"/api":                      true,
		"pods":                      true,
		"https://api:6443/x":        true,
		"//api:6443/x":              true,
		"https://user@api:6443/x":   true, // the name is not passed on
		"http://api:6443/x":         false,
		"https://api/x":             false,
		"https://api:443/x":         false,
		"https://evil.example/x":    false,
		"//evil.example/x":          false,
		"https://api:6443.evil/x":   false,
		"https://api:6443@evil/x":   false,
		"wss://api:6443/x":          false,
		"https://api%3A6443/x":      false,
		"https://api:6443%2Eevil/x": false,
	} {
		u, err := url.Parse(location)
		if err != nil { // no origin at all
			if want {
				t.Errorf("%q: %v", location, err)
			}
			continue
		}
		if got := sameOrigin(u, "https", "api:6443"); got != want {
			t.Errorf("%q: %t, want %t", location, got, want)
		}
	}
}

// TestLocaliseMovesAbsolutePathsBelowThePrefix leaves out the origin, and keeps
// escapes, query and fragment.
func TestLocaliseMovesAbsolutePathsBelowThePrefix(t *testing.T) {
	for _, c := range []struct{ location, serverPath, prefix, want string }{
		{"/api/v1/pods", "", "", "/api/v1/pods"},
		{"/api/v1/pods", "", "/clusters/b", "/clusters/b/api/v1/pods"},
		{"/", "", "/clusters/b", "/clusters/b/"},
		{"https://api:6443/api?limit=1#top", "", "/clusters/b", "/clusters/b/api?limit=1#top"},
		{"https://user:secret@api:6443/api", "", "", "/api"},
		{"https://api:6443", "/k8s", "/clusters/b", "/clusters/b/"},
		{"https://api:6443?x=y", "", "", "/?x=y"},
		{"/api/a%2Fb", "", "/clusters/b", "/clusters/b/api/a%2Fb"},
		{"/k8s/prod/api", "/k8s/prod", "/clusters/b", "/clusters/b/api"},
		{"/k8s/prod/api", "/k8s/prod/", "/clusters/b", "/clusters/b/api"},
		{"/k8s/production/api", "/k8s/prod", "/clusters/b", "/clusters/b/k8s/production/api"},
		{"/api", "/k8s/prod", "", "/api"},
		{"/clusters/c/api", "", "/clusters/b", "/clusters/b/clusters/c/api"},
		{"pods", "", "/clusters/b", "pods"},
		{"../pods?limit=1", "/k8s", "/clusters/b", "../pods?limit=1"},
		{"?limit=1", "", "/clusters/b", "?limit=1"},
	} {
		u, err := url.Parse(c.location)
		if err != nil {
			t.Fatal(err)
		}
		got, err := localise(u, c.serverPath, c.prefix)
		if err != nil || got.String() != c.want {
			t.Errorf("%q, server at %q, prefix %q: %v, %v, want %q", c.location, c.serverPath, c.prefix, got, err, c.want)
		}
	}
}

func TestStaysBelow(t *testing.T) {
	for _, c := range []struct {
		prefix, escaped string
		want            bool
	}{
		{"", "/api", true},
		{"", "/", true},
		{"", "/clusters", true},
		{"", "", false},
		{"", "api", false},
		{"", "//evil.example/api", false},
		{"", "/clusters/c/api", false},
		{"/clusters/b", "/clusters/b/api", true},
		{"/clusters/b", "/clusters/b/", true},
		{"/clusters/b", "/clusters/b/clusters/c", true},
		{"/clusters/b", "/clusters/b//evil.example", true}, // a path: its cluster comes first
		{"/clusters/b", "/clusters/b", false},
		{"/clusters/b", "/clusters/bc/api", false},
		{"/clusters/b", "/clusters/c/api", false},
		{"/clusters/b", "/api", false},
		{"/clusters/b", "//clusters/b/api", false},
	} {
		if got := staysBelow(c.prefix, c.escaped); got != c.want {
			t.Errorf("%q below %q: %t, want %t", c.escaped, c.prefix, got, c.want)
		}
	}
}

// TestHere wants a Location to lead to the same listener and cluster, or
// nowhere.
func TestHere(t *testing.T) {
	for _, c := range []struct{ prefix, location, want string }{
		{"", "/api/v1/nodes", "/api/v1/nodes"},
		{"", "q", "/api/v1/q"},
		{"", "../../version", "/version"},
		{"", "../../../../version", "/version"},
		{"", "https://api:6443/version?x=y", "/version?x=y"},
		{"", "https://api:6443", "/"},
		{"", "/clusters/c/api", ""},
		{"", "../../clusters/c/api", ""},
		{"", "/x/..//evil.example", "/evil.example"}, // not //evil.example
		{"", "https://evil.example/version", ""},
		{"/clusters/b", "/api/v1/nodes", "/clusters/b/api/v1/nodes"},
		{"/clusters/b", "q", "/clusters/b/api/v1/q"},
		{"/clusters/b", "../../version", "/clusters/b/version"},
		{"/clusters/b", "../../../c/version", ""},
		{"/clusters/b", "/../c/version", ""},
		{"/clusters/b", "/%2e%2e/c/version", ""},
	} {
		x := &exchange{
			caller: &Caller{Prefix: c.prefix}, escaped: "/api/v1/pods", scheme: "https", request: h1.Request{Host: "api:6443"},
		}
		if got, ok := x.here(c.location); got != c.want || ok != (c.want != "") {
			t.Errorf("%q at %q: %q, %t, want %q", c.location, c.prefix, got, ok, c.want)
		}
	}
}
