package daemon_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// verbatim answers over HTTP/1.1 with bytes as they are, and closes.
func verbatim(raw string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, raw) // the client may be gone
	})
}

// TestParityResponses passes every status with its headers and body, and
// takes out only what belongs to one connection.
func TestParityResponses(t *testing.T) {
	t.Parallel()
	r := parity(t)
	const date = "Tue, 01 Jan 2030 00:00:00 GMT"
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("compressed")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		name   string
		method string
		raw    string // status line, headers, body
		code   int
		want   http.Header // beside Date
		body   string
	}{
		{"what an API server sends", "GET",
			"200 OK\nAudit-Id: abc\nCache-Control: no-cache, private\nContent-Type: application/json\nContent-Length: 2\nWarning: 299 - \"old\"\nWarning: 299 - \"older\"\nX-Kubernetes-Pf-Flowschema-Uid: u\n\n{}", 200,
			http.Header{"Audit-Id": {"abc"}, "Cache-Control": {"no-cache, private"}, "Content-Type": {"application/json"}, "Content-Length": {"2"},
				"Warning": {`299 - "old"`, `299 - "older"`}, "X-Kubernetes-Pf-Flowschema-Uid": {"u"}}, "{}"},
		{"what a service behind proxy sends", "GET",
			"200 OK\nSet-Cookie: a=b; Path=/\nSet-Cookie: c=d\nServer: x\nAccess-Control-Allow-Origin: *\nStrict-Transport-Security: max-age=1\nContent-Type: text/html\nContent-Length: 1\n\nx", 200,
			http.Header{"Set-Cookie": {"a=b; Path=/", "c=d"}, "Server": {"x"}, "Access-Control-Allow-Origin": {"*"}, "Strict-Transport-Security": {"max-age=1"},
				"Content-Type": {"text/html"}, "Content-Length": {"1"}}, "x"},
		{"hop by hop", "GET",
			"200 OK\nConnection: X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5\nProxy-Authenticate: Basic\nUpgrade: h2c\nContent-Type: text/plain\nContent-Length: 1\nX-End: 1\n\nx", 200,
			http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"1"}, "X-End": {"1"}}, "x"},
		{"another reason phrase", "GET", "200 Fine By Me\nContent-Type: text/plain\nContent-Length: 0\n\n", 200,
			http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"0"}}, ""},
		{"a redirect is not followed or rewritten", "GET", "302 Found\nLocation: https://10.0.0.1:6443/x//y?z\nContent-Length: 0\n\n", 302,
			http.Header{"Location": {"https://10.0.0.1:6443/x//y?z"}, "Content-Length": {"0"}}, ""},
		{"307 to a POST", "POST", "307 Temporary Redirect\nLocation: /elsewhere\nContent-Length: 0\n\n", 307,
			http.Header{"Location": {"/elsewhere"}, "Content-Length": {"0"}}, ""},
		{"304", "GET", "304 Not Modified\nEtag: \"x\"\n\n", 304, http.Header{"Etag": {`"x"`}}, ""},
		{"204", "DELETE", "204 No Content\nX-A: b\n\n", 204, http.Header{"X-A": {"b"}}, ""},
		{"400", "GET", "400 Bad Request\nContent-Type: a/b\nContent-Length: 1\n\nx", 400, http.Header{"Content-Type": {"a/b"}, "Content-Length": {"1"}}, "x"},
		{"403", "GET", "403 Forbidden\nContent-Type: a/b\nContent-Length: 1\n\nx", 403, http.Header{"Content-Type": {"a/b"}, "Content-Length": {"1"}}, "x"},
		{"404", "GET", "404 Not Found\nContent-Type: a/b\nContent-Length: 1\n\nx", 404, http.Header{"Content-Type": {"a/b"}, "Content-Length": {"1"}}, "x"},
		{"410", "GET", "410 Gone\nContent-Type: a/b\nContent-Length: 1\n\nx", 410, http.Header{"Content-Type": {"a/b"}, "Content-Length": {"1"}}, "x"},
		{"429 with Retry-After", "POST", "429 Too Many Requests\nRetry-After: 7\nContent-Type: a/b\nContent-Length: 1\n\nx", 429,
			http.Header{"Retry-After": {"7"}, "Content-Type": {"a/b"}, "Content-Length": {"1"}}, "x"},
		{"500", "POST", "500 Oops\nContent-Type: a/b\nContent-Length: 1\n\nx", 500, http.Header{"Content-Type": {"a/b"}, "Content-Length": {"1"}}, "x"},
		{"503 to a write", "POST", "503 Service Unavailable\nRetry-After: 3\nContent-Type: a/b\nContent-Length: 1\n\nx", 503,
			http.Header{"Retry-After": {"3"}, "Content-Type": {"a/b"}, "Content-Length": {"1"}}, "x"},
		{"a status nobody knows", "GET", "299 Odd\nContent-Length: 0\n\n", 299, http.Header{"Content-Length": {"0"}}, ""},
		{"HEAD keeps its length", "HEAD", "200 OK\nContent-Type: a/b\nContent-Length: 1234\n\n", 200, http.Header{"Content-Type": {"a/b"}, "Content-Length": {"1234"}}, ""},
		{"the end of the connection ends the body", "GET", "200 OK\nContent-Type: a/b\n\nto the end", 200, http.Header{"Content-Type": {"a/b"}}, "to the end"},
		{"a compressed body that was asked for", "GET",
			fmt.Sprintf("200 OK\nContent-Encoding: gzip\nContent-Type: a/b\nContent-Length: %d\n\n", zipped.Len()) + zipped.String(), 200,
			http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"a/b"}, "Content-Length": {fmt.Sprint(zipped.Len())}}, zipped.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := fmt.Sprint("/api/v1/response", i)
			head, body, _ := strings.Cut(c.raw, "\n\n")
			r.all(path, verbatim("HTTP/1.1 "+lines(head+"\nDate: "+date)+body))
			w := r.dial(t)
			w.send(lines(c.method + " " + path + " HTTP/1.1\nHost: localhost\nAccept-Encoding: gzip"))
			got := w.receive(c.method)
			if got.Code != c.code || got.Body != c.body || got.Err != nil {
				t.Fatalf("answer %d %q %v, want %d %q", got.Code, got.Body, got.Err, c.code, c.body)
			}
			if c.want["Content-Length"] == nil {
				got.Header.Del("Content-Length") // each hop frames the body in its own way
			}
			if diff := cmp.Diff(merge(c.want, http.Header{"Date": {date}}), got.Header); diff != "" {
				t.Errorf("headers, - want + got:\n%s", diff)
			}
			if text := http.StatusText(c.code); text != "" && !strings.HasPrefix(got.Raw, fmt.Sprintf("HTTP/1.1 %d %s\r\n", c.code, text)) {
				t.Errorf("status line %.60q, want the standard phrase", got.Raw)
			}
			w.serves() // though the upstream closed its own
		})
	}
}

func TestParityInterimResponses(t *testing.T) {
	t.Parallel()
	r := parity(t)
	r.all("GET /api/v1/hints", fakeapi.Informational(103, fakeapi.Text(200, "final"), "Link", "</a>; rel=preload", "X-Early", "1"))
	for _, path := range []string{"/api/v1/hints", "/api/v1/hints?watch=1"} {
		got := r.ask(t, "GET "+path+" HTTP/1.1\nHost: localhost")
		if len(got.Interim) != 1 || got.Interim[0].StatusCode != 103 || got.Interim[0].Header.Get("Link") != "</a>; rel=preload" {
			t.Errorf("%s: interim answers %+v, want the 103", path, got.Interim)
		}
		if got.Code != 200 || got.Body != "final" || got.Header.Get("X-Early") != "" {
			t.Errorf("%s: answer %d %v %q, want no early header in it", path, got.Code, got.Header, got.Body)
		}
	}
	// HTTP/1.0 has none (RFC 9110, section 15.2).
	if got := r.ask(t, "GET /api/v1/hints HTTP/1.0\nHost: localhost"); len(got.Interim) != 0 || got.Body != "final" {
		t.Errorf("HTTP/1.0: %d interim answers, body %q", len(got.Interim), got.Body)
	}
}

func TestParityTrailers(t *testing.T) {
	t.Parallel()
	r := parity(t)
	r.all("GET /api/v1/trailers", fakeapi.Trailers("body", "Grpc-Status", "0", "X-T", "1"))
	r.all("GET /api/v1/unannounced", verbatim("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-T: 1\r\nGrpc-Status: 0\r\n\r\n"))
	r.all("GET /api/v1/empty", verbatim("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n0\r\nX-T: 1\r\n\r\n"))
	both := http.Header{"Grpc-Status": {"0"}, "X-T": {"1"}}
	for path, c := range map[string]struct {
		body string
		want http.Header
	}{
		"/api/v1/trailers":            {"body", both},
		"/api/v1/trailers?watch=true": {"body", both},
		"/api/v1/unannounced":         {"body", both},
		"/api/v1/empty":               {"", http.Header{"X-T": {"1"}}},
	} {
		w := r.dial(t)
		w.send(lines("GET " + path + " HTTP/1.1\nHost: localhost\nTE: trailers"))
		got := w.receive("GET")
		if got.Code != 200 || got.Body != c.body {
			t.Errorf("%s: answer %d %q", path, got.Code, got.Body)
		}
		if diff := cmp.Diff(c.want, got.Trailer); diff != "" {
			t.Errorf("%s: trailers, - want + got:\n%s", path, diff)
		}
		w.serves()
	}
}

// TestParityHTTP10 gives an old client an answer without chunks, and closes.
func TestParityHTTP10(t *testing.T) {
	t.Parallel()
	r := parity(t)
	r.all("GET /api/v1/chunked", fakeapi.Huge(100_000))
	w := r.dial(t)
	w.send(lines("GET /api/v1/chunked HTTP/1.0\nHost: localhost"))
	got := w.receive("GET")
	if got.Code != 200 || len(got.Body) != 100_000 || strings.Contains(got.head(), "chunked") {
		t.Errorf("%d bytes with\n%s", len(got.Body), got.head())
	}
	w.ended()
	w = r.dial(t)
	w.send(lines("GET /version HTTP/1.0\nHost: localhost\nConnection: keep-alive"))
	if got := w.receive("GET"); got.Code != 200 || got.Header.Get("Connection") != "keep-alive" {
		t.Errorf("keep-alive: %d\n%s", got.Code, got.head())
	}
	w.serves()
}

// TestParityMalformedResponses never lets an answer that cannot be read pass
// for a good one.
func TestParityMalformedResponses(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"no HTTP":                "SSH-2.0-OpenSSH_9.9\r\n\r\n",
		"a bad header":           "HTTP/1.1 200 OK\r\nX A: b\r\n\r\n",
		"two lengths":            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
		"a length of no number":  "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"101 that nobody wanted": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		"nothing":                "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parity(t)
			r.all("POST /api/v1/pods", verbatim(raw))
			got := r.ask(t, "POST /api/v1/pods HTTP/1.1\nHost: localhost\nContent-Length: 0")
			wantStatus(t, got, 502, "InternalError")
			if got.Header.Get("Retry-After") != "" {
				t.Error("Retry-After after a request that may have been processed")
			}
		})
	}
}
