package filter_test

import (
	"net/http"
	"testing"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

func TestCrossSite(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	for _, tt := range []struct {
		name   string
		header http.Header
		host   string
		want   bool // refused
	}{
		{"kubectl and curl send neither header", header("User-Agent", "kubectl/v1.37"), "127.0.0.1:8001", false},
		{"a websocket client sends the origin of the host it calls", header("Origin", "http://localhost:8001"), "localhost:8001", false},
		{"a page under the static prefix posts to the API", header("Origin", "http://127.0.0.1:8001", "Sec-Fetch-Site", "same-origin"), "127.0.0.1:8001", false},
		{"a page reads from its own host without Origin", header("Sec-Fetch-Site", "same-origin"), "localhost:8001", false},
		{"the user types the address", header("Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"), "localhost:8001", false},
		{"a host name's case does not matter", header("Origin", "http://localhost:8001"), "LocalHost:8001", false},
		{"an IPv6 origin", header("Origin", "http://[::1]:8001"), "[::1]:8001", false},
		{"TLS ends in front of the listener", header("Origin", "https://kube.example.org"), "kube.example.org", false},
		{"a development server forwards its own page's request", header("Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-origin"), "localhost:8001", false},

		{"another site posts a form", header("Origin", "http://evil.com", "Sec-Fetch-Site", "cross-site"), "localhost:8001", true},
		{"another site opens a websocket in a browser without fetch metadata", header("Origin", "http://evil.com"), "localhost:8001", true},
		{"a sandboxed page", header("Origin", "null"), "localhost:8001", true},
		{"a local file, host empty", header("Origin", "file://"), "", true},
		{"an empty origin", header("Origin", ""), "localhost:8001", true},
		{"no host to compare with", header("Origin", "http://"), "", true},
		{"another port of the same host", header("Origin", "http://localhost:3000"), "localhost:8001", true},
		{"another port of the same host, by fetch metadata", header("Sec-Fetch-Site", "same-site"), "localhost:8001", true},
		{"another name of the same address", header("Origin", "http://127.0.0.1:8001"), "localhost:8001", true},
		{"an image on another site", header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"), "localhost:8001", true},
		{"a link on another site", header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-User", "?1"), "localhost:8001", true},
		{"another scheme", header("Origin", "chrome-extension://localhost:8001"), "localhost:8001", true},
		{"an extension's request that no page made", header("Origin", "chrome-extension://abc", "Sec-Fetch-Site", "none"), "localhost:8001", true},
		{"a host as a prefix", header("Origin", "http://localhost:8001.evil.com"), "localhost:8001", true},
		{"a host as user information", header("Origin", "http://localhost:8001@evil.com"), "localhost:8001", true},
		{"one good origin and one bad", header("Origin", "http://localhost:8001", "Origin", "http://evil.com"), "localhost:8001", true},
		{"one good site and one bad", header("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"), "localhost:8001", true},
		{"two good sites vouch for no origin", header("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "none", "Origin", "http://evil.com"), "localhost:8001", true},
		{"an unknown word", header("Sec-Fetch-Site", "sometimes"), "localhost:8001", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := filter.CrossSite(tt.header, tt.host); got != tt.want {
				t.Errorf("CrossSite(%v, %q) = %v, want %v", tt.header, tt.host, got, tt.want)
			}
		})
	}
}
