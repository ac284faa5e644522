package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

const forbidden = "HTTP/1.1 403 Forbidden\nContent-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff\nContent-Length: 10"

// TestParityFilter holds whom the filter refuses, with which bytes, and that
// the connection stays open.
func TestParityFilter(t *testing.T) {
	t.Parallel()
	plain, custom := parity(t), parity(t, withPrefix("/custom/"))
	strict := parity(t, listener(func(l *config.Listener) {
		l.Filter.RejectMethods = filter.SplitList("POST,PUT,PATCH")
		l.Filter.AcceptPaths = filter.SplitList("^/api/v1/[^/]+$")
	}))
	closed := parity(t, listener(func(l *config.Listener) { l.Filter.AcceptHosts = nil }))
	const ok, refused = 200, 403
	for i, c := range []struct {
		relay *relay
		start string // request line
		host  string
		code  int
	}{
		{plain, "GET /api/v1/pods", "localhost", ok},
		{plain, "GET /api/v1/pods", "localhost:1", ok},
		{plain, "GET /api/v1/pods", "localhost:", ok},
		{plain, "GET /api/v1/pods", "localhost:evil", ok},
		{plain, "GET /api/v1/pods", "127.0.0.1", ok},
		{plain, "GET /api/v1/pods", "127.0.0.1:8001", ok},
		{plain, "GET /api/v1/pods", "127.0.0.1:evil", ok},
		{plain, "GET /api/v1/pods", "[::1]", ok},
		{plain, "GET /api/v1/pods", "[::1]:8001", ok}, // kubectl refuses it: kubernetes#77496
		{plain, "GET /api/v1/pods", "LOCALHOST", refused},
		{plain, "GET /api/v1/pods", "localhost.", refused},
		{plain, "GET /api/v1/pods", "::1", refused},
		{plain, "GET /api/v1/pods", "127.1", refused},
		{plain, "GET /api/v1/pods", "0.0.0.0", refused},
		{plain, "GET /api/v1/pods", "", refused},
		{plain, "GET /api/v1/pods", "127.0.0.1.evil.com", refused},
		{plain, "GET /api/v1/pods", "localhost:80:80", refused},
		{plain, "GET /api/v1/pods", "[::2]:8001", refused},
		{plain, "GET /api/v1/pods", "evil.example:8001", refused},
		{plain, "GET http://evil.example/api/v1/pods", "localhost", refused},
		{plain, "GET http://localhost/api/v1/pods", "evil.example", ok},
		{closed, "GET /api/v1/pods", "localhost", refused},

		{plain, "POST /api/v1/namespaces/x/pods/p/exec", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/pods/p/exec?command=ls", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/pods/p/attach", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/services/pods/proxy/exec", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/pods/p/executor", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/%70ods/p/%65xec", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/pods/p%2Fexec", "localhost", refused},
		{plain, "GET /%2F%2Fapi/v1/namespaces/x/pods/p/exec", "localhost", refused}, // passes kubectl's filter, also the next ones
		{plain, "GET /x%2F..%2Fapi/v1/namespaces/x/pods/p/exec", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/x%2F%2E%2E%2Fpods/p/exec", "localhost", refused},
		{plain, "GET /api/v1/namespaces/x/pods/p/portforward", "localhost", ok},
		{plain, "GET /api/v1/nodes/n/proxy/exec/x/y/z", "localhost", ok},
		{plain, "GET /apis/apps/v1/x/pods/p/exec", "localhost", ok},
		{custom, "GET /custom/api/v1/namespaces/x/pods/p/exec", "localhost", refused},
		{custom, "GET /%63ustom/api/v1/namespaces/x/pods/p/exec", "localhost", refused},
		{custom, "GET /custom/x%2F..%2F..%2Fapi/v1/namespaces/x/pods/p/exec", "localhost", refused},

		{strict, "GET /api/v1/pods", "localhost", ok},
		{strict, "GET /api/v1/pods/p", "localhost", refused},
		{strict, "POST /api/v1/pods", "localhost", refused},
		{strict, "XPOSTX /api/v1/pods", "localhost", refused},
		{strict, "post /api/v1/pods", "localhost", ok},
		{strict, "DELETE /api/v1/pods", "localhost", ok},
	} {
		t.Run(fmt.Sprintf("%s Host %s", c.start, c.host), func(t *testing.T) {
			mark := fmt.Sprint(i)
			w := c.relay.dial(t)
			w.send(lines(c.start + " HTTP/1.1\nHost: " + c.host + "\n" + markHeader + ": " + mark))
			method, _, _ := strings.Cut(c.start, " ")
			got := w.receive(method)
			if got.Code != c.code {
				t.Fatalf("answer %d %q, want %d", got.Code, got.Body, c.code)
			}
			if c.code == ok {
				c.relay.one(mark)
				return
			}
			if got.head() != forbidden || got.Body != "Forbidden\n" {
				t.Errorf("answer\n%s\n\n%q, want\n%s", got.head(), got.Body, forbidden)
			}
			if n := len(c.relay.seen(mark)); n != 0 {
				t.Errorf("%d requests went upstream", n)
			}
			if c.relay == plain {
				w.serves()
			}
		})
	}
}

// TestParityRefusedBodyKeepsTheConnection refuses a request whose body has
// come with it.
func TestParityRefusedBodyKeepsTheConnection(t *testing.T) {
	t.Parallel()
	w := parity(t).dial(t)
	w.send(lines("POST /api/v1/pods HTTP/1.1\nHost: evil.example\nContent-Length: 5") + "hello")
	if got := w.receive("POST"); got.head() != forbidden {
		t.Errorf("answer\n%s", got.head())
	}
	w.serves()
}

// TestParityRequestForms sends what is not the usual request line.
func TestParityRequestForms(t *testing.T) {
	t.Parallel()
	r, open := parity(t), parity(t, withoutFilter())
	for i, c := range []struct {
		name     string
		relay    *relay
		request  string
		code     int
		upstream string // "METHOD TARGET"; "": nothing arrives
	}{
		{"no Host in HTTP/1.1", r, "GET /api HTTP/1.1", 400, ""},
		{"two Hosts", r, "GET /api HTTP/1.1\nHost: localhost\nHost: localhost", 400, ""},
		{"a Host with user info", r, "GET /api HTTP/1.1\nHost: a@b", 400, ""},
		{"HTTP/1.0 without Host", r, "GET /api HTTP/1.0", 403, ""},
		{"HTTP/1.0 without Host or filter", open, "GET /api HTTP/1.0", 200, "GET /api"},
		{"HTTP/1.0", r, "GET /api HTTP/1.0\nHost: localhost", 200, "GET /api"},
		{"a bad escape", r, "GET /%zz HTTP/1.1\nHost: localhost", 400, ""},
		{"a control character", r, "GET /a\x01b HTTP/1.1\nHost: localhost", 400, ""},
		{"a folded header", open, "GET /api HTTP/1.1\nHost: localhost\nX-A: b\n c", 200, "GET /api"},
		{"a space before the colon", r, "GET /api HTTP/1.1\nHost: localhost\nX-A : b", 400, ""},
		{"HTTP/2 with prior knowledge", r, "PRI * HTTP/2.0\n\nSM\n", 400, ""},
		{"HTTP/3.0", r, "GET /api HTTP/3.0\nHost: localhost", 505, ""},
		{"OPTIONS *", r, "OPTIONS * HTTP/1.1\nHost: localhost", 200, ""},
		{"GET *", r, "GET * HTTP/1.1\nHost: localhost", 400, ""},
		{"OPTIONS of a path", r, "OPTIONS /api HTTP/1.1\nHost: localhost", 200, "OPTIONS /api"},
		{"a method nobody knows", r, "FOO /api HTTP/1.1\nHost: localhost", 200, "FOO /api"},
		{"a method in lower case", r, "get /api HTTP/1.1\nHost: localhost", 200, "get /api"},
		{"a method of punctuation", r, "!#$%&'*+-.^_`|~ /api HTTP/1.1\nHost: localhost", 200, "!#$%&'*+-.^_`|~ /api"},
		{"CONNECT", r, "CONNECT 10.0.0.1:443 HTTP/1.1\nHost: 10.0.0.1:443", 405, ""},
		{"CONNECT to ourselves", r, "CONNECT localhost:443 HTTP/1.1\nHost: localhost:443", 405, ""},
		{"CONNECT with a path", r, "CONNECT /api HTTP/1.1\nHost: localhost", 405, ""},
		{"CONNECT with a path from elsewhere", r, "CONNECT /api HTTP/1.1\nHost: evil.example", 403, ""},
		{"TRACE", r, "TRACE /api HTTP/1.1\nHost: localhost", 405, ""},
		{"TRACE with the filter off", open, "TRACE /api HTTP/1.1\nHost: localhost", 405, ""},
		{"two lengths that differ", r, "POST /api HTTP/1.1\nHost: localhost\nContent-Length: 1\nContent-Length: 2", 400, ""},
		{"a length that is no number", r, "POST /api HTTP/1.1\nHost: localhost\nContent-Length: -1", 400, ""},
		{"a transfer coding nobody knows", r, "POST /api HTTP/1.1\nHost: localhost\nTransfer-Encoding: gzip", 501, ""},
		{"an expectation nobody knows", r, "POST /api HTTP/1.1\nHost: localhost\nExpect: more\nContent-Length: 0", 417, ""},
		{"a URI of 200 kB", r, "GET /api?a=" + strings.Repeat("x", 200_000) + " HTTP/1.1\nHost: localhost", 200, "GET /api?a=" + strings.Repeat("x", 200_000)},
		{"a head of more than 1 MB", r, "GET /api HTTP/1.1\nHost: localhost\nX-A: " + strings.Repeat("x", 1<<20+8<<10), 431, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := fmt.Sprint("form ", i)
			start, rest, _ := strings.Cut(c.request, "\n")
			got := c.relay.ask(t, start+"\n"+markHeader+": "+mark+"\n"+rest)
			if got.Code != c.code {
				t.Fatalf("answer %d %q, want %d", got.Code, got.Body, c.code)
			}
			if got.Code == 405 && got.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if c.upstream == "" {
				if n := len(c.relay.seen(mark)); n != 0 {
					t.Errorf("%d requests went upstream", n)
				}
				return
			}
			if q := c.relay.one(mark); q.Method+" "+q.Target != c.upstream {
				t.Errorf("upstream got %.100q, want %.100q", q.Method+" "+q.Target, c.upstream)
			}
		})
	}
}

// TestParityPipelining sends three requests at once and reads three answers,
// in order.
func TestParityPipelining(t *testing.T) {
	t.Parallel()
	r := parity(t)
	w := r.dial(t)
	w.send(lines("GET /api/v1/a HTTP/1.1\nHost: localhost") +
		lines("POST /api/v1/b HTTP/1.1\nHost: localhost\nContent-Length: 5") + "hello" +
		lines("GET /c HTTP/1.1\nHost: evil.example") +
		lines("GET /api/v1/d HTTP/1.1\nHost: localhost"))
	for i, want := range []int{200, 200, 403, 200} {
		if got := w.receive("GET"); got.Code != want {
			t.Errorf("answer %d: %d %q, want %d", i, got.Code, got.Body, want)
		}
	}
	if q := r.Servers[0].Requests("POST /api/v1/b")[0]; q.BodyBytes != 5 {
		t.Errorf("the body between two requests arrived with %d bytes, want 5", q.BodyBytes)
	}
	if n := r.received("GET /api/v1/*"); n != 2 {
		t.Errorf("%d reads arrived, want 2", n)
	}
}

// TestParityCrossSite refuses what a page of another site makes a browser
// send, WebSocket included: kubectl proxy lets it all through.
func TestParityCrossSite(t *testing.T) {
	t.Parallel()
	r, open := parity(t), parity(t, withoutFilter())
	const ws = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
	for i, c := range []struct {
		name    string
		relay   *relay
		request string
		host    string
		code    int
	}{
		{"another site's Origin", r, "Origin: http://evil.example", "localhost:8001", 403},
		{"another port's Origin", r, "Origin: http://localhost:3000", "localhost:8001", 403},
		{"the null Origin", r, "Origin: null", "localhost:8001", 403},
		{"WebSocket with another site's Origin", r, ws + "Origin: http://evil.example", "localhost:8001", 403},
		{"a browser says cross-site", r, "Sec-Fetch-Site: cross-site", "localhost:8001", 403},
		{"a browser says same-site", r, "Sec-Fetch-Site: same-site", "localhost:8001", 403},
		{"the own Origin", r, "Origin: http://localhost:8001", "localhost:8001", 200},
		{"a browser says same-origin", r, "Sec-Fetch-Site: same-origin", "localhost:8001", 200},
		{"typed into a browser", r, "Sec-Fetch-Site: none", "localhost:8001", 200},
		{"no browser", r, "Accept: */*", "localhost:8001", 200},
		{"another site with the filter off", open, "Origin: http://evil.example\nSec-Fetch-Site: cross-site", "evil.example", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := fmt.Sprint("site ", i)
			got := c.relay.ask(t, "GET /api/v1/pods?watch=1 HTTP/1.1\nHost: "+c.host+"\n"+markHeader+": "+mark+"\n"+c.request)
			if got.Code != c.code {
				t.Fatalf("answer %d %q, want %d", got.Code, got.Body, c.code)
			}
			if c.code == 200 {
				c.relay.one(mark)
				return
			}
			status := wantStatus(t, got, 403, "Forbidden")
			if status.Details.Causes[0].Type != "CrossSite" {
				t.Errorf("cause %+v, want CrossSite", status.Details.Causes)
			}
			if n := len(c.relay.seen(mark)); n != 0 {
				t.Errorf("%d requests went upstream", n)
			}
		})
	}
	// What the filter refuses gets kubectl proxy's answer, whoever asks.
	got := r.ask(t, "GET /api/v1/pods HTTP/1.1\nHost: evil.example\nOrigin: http://other.example")
	if got.head() != forbidden {
		t.Errorf("a refused Host from another site gets\n%s", got.head())
	}
}

// TestParityStaticFiles serves --www to the accepted hosts only, which
// kubectl proxy does not ask about.
func TestParityStaticFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"a.txt": "content", ".secret": "hidden", "index.html": "<p>index"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := parity(t, listener(func(l *config.Listener) { l.StaticDir = dir }))
	for i, c := range []struct {
		request string
		code    int
		body    string
	}{
		{"GET /static/a.txt HTTP/1.1\nHost: localhost", 200, "content"},
		{"GET /static/ HTTP/1.1\nHost: localhost:8001", 200, "<p>index"},
		{"HEAD /static/a.txt HTTP/1.1\nHost: localhost", 200, ""},
		{"GET /static HTTP/1.1\nHost: localhost", 307, ""},
		{"GET /static//a.txt HTTP/1.1\nHost: localhost", 307, ""},
		{"GET /static/none HTTP/1.1\nHost: localhost", 404, "404 page not found\n"},
		{"GET /static/.secret HTTP/1.1\nHost: localhost", 404, "404 page not found\n"},
		{"GET /static/..%2f..%2fetc%2fpasswd HTTP/1.1\nHost: localhost", 404, "404 page not found\n"},
		{"GET /static/a.txt HTTP/1.1\nHost: evil.example", 403, "Forbidden\n"},
		{"GET /static/a.txt HTTP/1.1\nHost: localhost\nSec-Fetch-Site: cross-site", 403, ""},
		{"DELETE /static/a.txt HTTP/1.1\nHost: localhost", 405, ""},
		{"GET /staticx HTTP/1.1\nHost: localhost", 200, "fine"},
	} {
		got := r.ask(t, c.request+"\n"+markHeader+": "+fmt.Sprint("www ", i))
		if got.Code != c.code || c.body != "" && got.Body != c.body {
			t.Errorf("%q answers %d %q, want %d %q", c.request, got.Code, got.Body, c.code, c.body)
		}
		want := 0
		if c.body == "fine" {
			want = 1
		}
		if n := len(r.seen(fmt.Sprint("www ", i))); n != want {
			t.Errorf("%q: %d requests went upstream, want %d", c.request, n, want)
		}
	}
	// A path filter says nothing about them, as with kubectl proxy.
	closed := parity(t, listener(func(l *config.Listener) {
		l.StaticDir, l.Filter.RejectPaths = dir, []string{".*"}
	}))
	if got := closed.ask(t, "GET /static/a.txt HTTP/1.1\nHost: localhost"); got.Body != "content" {
		t.Errorf("with every path rejected: %d %q", got.Code, got.Body)
	}
}
