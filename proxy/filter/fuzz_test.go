package filter_test

import (
	"net"
	"net/http"
	"testing"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

// FuzzAllowed compares a filter's verdict with that of kubectl proxy's own
// code, for any lists and any request. The one difference is deliberate: of a
// host in brackets with a port, kubectl loses the brackets.
func FuzzAllowed(f *testing.F) {
	d := defaultFlags
	for _, s := range []struct{ method, path, host string }{
		{"GET", "/api/v1/pods", "localhost:8001"},
		{"GET", "/api/v1/namespaces/d/pods/p/exec", "127.0.0.1:evil"},
		{"GET", "/api/v1/namespaces/d/pods/p\n/attach", "[::1]:8001"},
		{"", "", ""},
		{"POST", "/api/\xff/pods/\u2028/attach", "localhost:80:80"},
	} {
		f.Add(d.acceptHosts, d.acceptPaths, d.rejectPaths, d.rejectMethods, s.method, s.path, s.host)
	}
	f.Add("^*$", "^/api/.*/pods$", `^/a.*b.*c$,^(?i)/Api,(?s)^/a.*z`, "POST,PUT|PATCH", "PUT", "/api/x\n/pods", "[x]:")
	f.Add("localhost,.*,", `^.*$,/$,a.*b,^/a+?`, `\.exec$,^\x{e9}`, "", "post", "/a\nb.exec", "xlocalhost.evil.com")
	f.Fuzz(func(t *testing.T, acceptHosts, acceptPaths, rejectPaths, rejectMethods, method, path, host string) {
		fl := flags{acceptHosts, acceptPaths, rejectPaths, rejectMethods}
		theirs, err := fl.kubectl()
		ours, ourErr := filter.New(fl.config())
		if (err == nil) != (ourErr == nil) {
			t.Fatalf("kubectl says of %q: %v; New: %v", fl, err, ourErr)
		}
		if err != nil {
			return
		}
		want := answer(theirs, request(method, path, host)).Code == http.StatusNoContent
		got := ours.Broken(method, path, host) == ""
		if got != want && bracketed(host) {
			// Ours may accept more, but nothing that kubectl refuses without the port.
			name, _, _ := net.SplitHostPort(host)
			want = answer(theirs, request(method, path, "["+name+"]")).Code == http.StatusNoContent
		}
		if got != want {
			t.Errorf("%q: %q, %q, %q allowed: %v, kubectl's %v", fl, method, path, host, got, want)
		}
	})
}

// FuzzCrossSite holds the gate to what must be so whatever the headers say.
func FuzzCrossSite(f *testing.F) {
	f.Add("http://localhost:8001", "same-origin", "localhost:8001")
	f.Add("null", "cross-site", "localhost")
	f.Add("https://", "none", "")
	f.Fuzz(func(t *testing.T, origin, site, host string) {
		if !filter.CrossSite(http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {origin}}, host) {
			t.Errorf("cross-site with Origin %q at %q passes", origin, host)
		}
		if filter.CrossSite(http.Header{}, host) {
			t.Errorf("a request without either header at %q is refused", host)
		}
		both := filter.CrossSite(http.Header{"Origin": {origin}, "Sec-Fetch-Site": {site}}, host)
		originOnly := filter.CrossSite(http.Header{"Origin": {origin}}, host)
		siteOnly := filter.CrossSite(http.Header{"Sec-Fetch-Site": {site}}, host)
		if siteOnly && !both {
			t.Errorf("Origin %q lifts the refusal of Sec-Fetch-Site %q at %q", origin, site, host)
		}
		if originOnly && !both && site != "same-origin" {
			t.Errorf("Sec-Fetch-Site %q lifts the refusal of Origin %q at %q", site, origin, host)
		}
		if !originOnly && origin != "http://"+host && len(origin) < len("http://")+len(host) {
			t.Errorf("Origin %q passes at %q", origin, host)
		}
	})
}
