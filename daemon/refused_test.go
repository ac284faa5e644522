package daemon_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestRefusedRequestsAreSeen sends what each gate refuses: it is counted by
// its reason and has its own line in the access log.
func TestRefusedRequestsAreSeen(t *testing.T) {
	t.Parallel()
	r := start(t, servers(t, 1), func(cfg *config.Configuration) {
		cfg.Log.AccessLog = true
		cfg.Listeners[0].Filter.RejectMethods = []string{"^DELETE$"}
	})
	r.all("*", fakeapi.Text(200, "fine"))
	for _, tc := range []struct {
		name, method, path, host, origin string
		code                             int
		reason                           string
	}{
		{"a host that is not this machine's name", "GET", "/api/v1/pods", "evil.example", "", 403, "host"},
		{"exec", "POST", "/api/v1/namespaces/x/pods/p/exec", "", "", 403, "path"},
		{"a rejected method", "DELETE", "/api/v1/nodes/n", "", "", 403, "method"},
		{"a page of another site", "GET", "/api/v1/pods", "", "http://evil.example", 403, "cross_site"},
		{"a method for the proxy itself", "TRACE", "/api/v1/pods", "", "", 405, "method"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			series := fmt.Sprintf("kuberelay_denied_total{reason=%q}", tc.reason)
			before, logged := r.metric(series), r.Logs.FilterMessage("request refused").Len()
			req, err := http.NewRequestWithContext(t.Context(), tc.method, r.URL+tc.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if tc.host != "" {
				req.Host = tc.host
			}
			if tc.origin != "" {
				req.Header.Set("Origin", tc.origin)
			}
			resp, err := r.Client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tc.code {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.code)
			}
			if n := r.metric(series) - before; n != 1 {
				t.Errorf("counted %d times as %q, want once", n, tc.reason)
			}
			lines := r.Logs.FilterMessage("request refused").All()[logged:]
			if len(lines) != 1 {
				t.Fatalf("%d lines in the access log, want one", len(lines))
			}
			got := lines[0].ContextMap()
			if got["listener"] != "proxy" || got["reason"] != tc.reason || got["path"] != tc.path || got["method"] != tc.method || fmt.Sprint(got["code"]) != fmt.Sprint(tc.code) {
				t.Errorf("access log: %v", got)
			}
			if n := r.received(tc.method + " " + tc.path); n != 0 {
				t.Error("the API server got the request")
			}
		})
	}
}

// TestRefusedCredentialIsCounted has a server that refuses the credential, of
// which there is no newer one: the answer passes, and is counted as what it is.
func TestRefusedCredentialIsCounted(t *testing.T) {
	t.Parallel()
	r := start(t, servers(t, 1))
	r.all("GET /api/v1/pods", fakeapi.Text(401, "no"))
	series := fmt.Sprintf(`kuberelay_upstream_requests_total{cluster="test",outcome="unauthorized",upstream=%q}`, r.Servers[0].Addr)
	if got := r.do("GET", "/api/v1/pods", ""); got.Code != 401 {
		t.Fatalf("answer %+v, want the API server's 401", got)
	}
	if n := r.metric(series); n != 1 {
		t.Errorf("%s is %d, want 1", series, n)
	}
	if got := r.do("GET", "/api/v1/pods", "", "Authorization", "Bearer of-the-client"); got.Code != 401 {
		t.Fatalf("answer %+v, want the API server's 401", got)
	}
	if n := r.metric(series); n != 1 {
		t.Errorf("%s is %d after a client's own credential was refused, want 1", series, n)
	}
}
