package daemon_test

import (
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// editRest changes the connection parameters that the kubeconfig gives.
func editRest(edit func(*rest.Config)) func(*config.Configuration) {
	return func(cfg *config.Configuration) {
		connection := &cfg.Clusters[0].Connection
		load := connection.Load
		connection.Load = func() (*rest.Config, error) {
			c, err := load()
			if err == nil {
				edit(c)
			}
			return c, err
		}
	}
}

func impersonating(c *rest.Config) {
	c.Impersonate = rest.ImpersonationConfig{UserName: "alice", Groups: []string{"g1", "g2"}, UID: "7"}
}

var ownUserAgent = "kuberelay/v0-test (" + runtime.GOOS + "/" + runtime.GOARCH + ")"

// TestParityRequestHeaders compares every header that the API server sees with
// what the client sent. The audit ID is looked at elsewhere.
func TestParityRequestHeaders(t *testing.T) {
	t.Parallel()
	plain, alice := parity(t), parity(t, editRest(impersonating))
	injected := "Bearer " + testToken
	// What arrives when the client sends nothing but a Host.
	bare := http.Header{
		"Authorization":   {injected},
		"User-Agent":      {ownUserAgent},
		"X-Forwarded-For": {"127.0.0.1"},
	}
	for i, c := range []struct {
		name  string
		relay *relay
		sent  string
		want  http.Header // what differs from bare; nil values: absent
	}{
		{"nothing", plain, "", nil},
		{"the client's bearer wins", plain, "Authorization: Bearer mine", http.Header{"Authorization": {"Bearer mine"}}},
		{"the client's basic wins", plain, "authorization: Basic bWluZTp4", http.Header{"Authorization": {"Basic bWluZTp4"}}},
		{"a blank Authorization is none", plain, "Authorization:  ", nil},
		{"Connection cannot take Authorization away", plain, "Connection: Authorization\nAuthorization: Bearer mine", http.Header{"Authorization": {"Bearer mine"}}},
		{"Connection cannot take Impersonate-User away", plain, "Connection: close, Impersonate-User\nImpersonate-User: bob", http.Header{"Impersonate-User": {"bob"}}},
		{"the front proxy's identity headers go", plain, "X-Remote-User: admin\nX-Remote-Group: system:masters\nX-Remote-Extra-A: b\nX_Remote_User: admin", nil},
		{"underscores do not stand for dashes", plain, "Impersonate_User: admin\nX_Forwarded_For: 1.2.3.4", nil},
		{"what browsers and hops add", plain,
			"Cookie: a=b; c=d\nReferer: http://localhost/x\nVia: 1.1 a\nForwarded: for=1.2.3.4\nX-Real-Ip: 1.2.3.4\nX-Forwarded-Host: h\nX-Forwarded-Proto: https\nSec-Fetch-Mode: cors\nSec-Fetch-Site: none",
			http.Header{"Cookie": {"a=b; c=d"}, "Referer": {"http://localhost/x"}, "Via": {"1.1 a"}, "Forwarded": {"for=1.2.3.4"}, "X-Real-Ip": {"1.2.3.4"},
				"X-Forwarded-Host": {"h"}, "X-Forwarded-Proto": {"https"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"none"}}},
		{"the own Origin", plain, "Origin: http://localhost", http.Header{"Origin": {"http://localhost"}}},
		{"X-Forwarded-For is added to", plain, "X-Forwarded-For: 1.2.3.4\nX-Forwarded-For: 5.6.7.8, ::1", http.Header{"X-Forwarded-For": {"1.2.3.4, 5.6.7.8, ::1, 127.0.0.1"}}},
		{"the client's User-Agent", plain, "User-Agent: curl/8", http.Header{"User-Agent": {"curl/8"}}},
		{"an empty User-Agent is none", plain, "User-Agent:", nil},
		{"Accept-Encoding as it is", plain, "Accept-Encoding: br, gzip;q=0.5\nAccept: */*\nRange: bytes=0-1",
			http.Header{"Accept-Encoding": {"br, gzip;q=0.5"}, "Accept": {"*/*"}, "Range": {"bytes=0-1"}}},
		{"hop by hop", plain,
			"Connection: keep-alive, X-Secret, x-other\nX-Secret: 1\nX-Other: 2\nKeep-Alive: timeout=5\nProxy-Authorization: Basic eA==\nProxy-Connection: keep-alive\nTE: gzip, deflate\nTrailer: X-T\nUpgrade: websocket", nil},
		{"trailers are asked for", plain, "Connection: TE\nTE: gzip, trailers;q=1, trailers", http.Header{"Te": {"trailers"}}},
		{"an offer of h2c, as curl makes it", plain, "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", nil},
		{"several values of one name", plain, "X-A: 1\nX-A: 2\nWarning: 199 - \"x\"", http.Header{"X-A": {"1", "2"}, "Warning": {`199 - "x"`}}},
		{"bytes above ASCII", plain, "X-A: \xe9\u00e9", http.Header{"X-A": {"\xe9\u00e9"}}},
		{"impersonation without any configured", plain, "Impersonate-User: bob\nImpersonate-Group: g\nImpersonate-Uid: 1\nImpersonate-Extra-Scopes: a",
			http.Header{"Impersonate-User": {"bob"}, "Impersonate-Group": {"g"}, "Impersonate-Uid": {"1"}, "Impersonate-Extra-Scopes": {"a"}}},

		{"configured impersonation", alice, "", aliceHeaders()},
		{"a lone group is not appended", alice, "Impersonate-Group: system:masters", aliceHeaders()},
		{"nor another field", alice, "Impersonate-Uid: 0\nImpersonate-Extra-Scopes: all", aliceHeaders()},
		{"a client's user replaces all of it", alice, "Impersonate-User: bob", http.Header{"Impersonate-User": {"bob"}}},
		{"with the client's own groups", alice, "Impersonate-User: bob\nImpersonate-Group: g", http.Header{"Impersonate-User": {"bob"}, "Impersonate-Group": {"g"}}},
		{"configured impersonation and the client's own credential", alice, "Authorization: Bearer mine",
			merge(aliceHeaders(), http.Header{"Authorization": {"Bearer mine"}})},
	} {
		// The same over HTTP/1.1 and, for watches, over HTTP/2.
		for _, path := range []string{"/api/v1/pods", "/api/v1/pods?watch=1"} {
			t.Run(c.name+" "+path, func(t *testing.T) {
				mark := fmt.Sprint("header ", i, path)
				got := c.relay.ask(t, "GET "+path+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark+"\n"+c.sent)
				if got.Code != 200 {
					t.Fatalf("answer %d %q", got.Code, got.Body)
				}
				q := c.relay.one(mark)
				if q.Host != c.relay.Servers[0].Addr {
					t.Errorf("Host %q, want the server's %q", q.Host, c.relay.Servers[0].Addr)
				}
				if q.Header.Get("Audit-Id") == "" {
					t.Error("no Audit-Id")
				}
				q.Header.Del("Audit-Id")
				q.Header.Del(markHeader)
				if diff := cmp.Diff(merge(bare, c.want), q.Header); diff != "" {
					t.Errorf("headers, - want + got:\n%s", diff)
				}
			})
		}
	}
}

func aliceHeaders() http.Header {
	return http.Header{"Impersonate-User": {"alice"}, "Impersonate-Group": {"g1", "g2"}, "Impersonate-Uid": {"7"}}
}

func merge(a, b http.Header) http.Header {
	all := a.Clone()
	maps.Copy(all, b)
	return all
}

// TestParityUnixSocket has no address to forward.
func TestParityUnixSocket(t *testing.T) {
	t.Parallel()
	r := parity(t, listener(func(l *config.Listener) { l.Address = "unix://" + t.TempDir() + "/s" }))
	for mark, sent := range map[string]string{"": "", "1.2.3.4": "X-Forwarded-For: 1.2.3.4"} {
		got := r.ask(t, "GET /api HTTP/1.1\nHost: localhost\n"+markHeader+": unix"+mark+"\n"+sent)
		if got.Code != 200 {
			t.Fatalf("answer %d %q", got.Code, got.Body)
		}
		if f := r.one("unix" + mark).Header.Get("X-Forwarded-For"); f != mark {
			t.Errorf("X-Forwarded-For %q, want %q", f, mark)
		}
	}
}

// TestParityServerPath joins the path of the server's URL before the
// request's, after the filter, or drops it.
func TestParityServerPath(t *testing.T) {
	t.Parallel()
	rancher := editRest(func(c *rest.Config) { c.Host += "/k8s/clusters/c%2Fx/" })
	dropped := parity(t, rancher)
	appended := parity(t, rancher, listener(func(l *config.Listener) { l.AppendServerPath = true }))
	const exec = "/api/v1/namespaces/x/pods/p/exec"
	for i, c := range []struct {
		relay           *relay
		target, arrives string
	}{
		{dropped, "/api/v1/a%2Fb?c", "/api/v1/a%2Fb?c"},
		{appended, "/api/v1/a%2Fb?c", "/k8s/clusters/c%2Fx/api/v1/a%2Fb?c"},
		{appended, "/", "/k8s/clusters/c%2Fx/"},
		{appended, "/api/v1/pods?watch=1", "/k8s/clusters/c%2Fx/api/v1/pods?watch=1"},
	} {
		mark := fmt.Sprint("path ", i)
		if got := c.relay.ask(t, "GET "+c.target+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark); got.Code != 200 {
			t.Errorf("%s: %d %q", c.target, got.Code, got.Body)
			continue
		}
		if q := c.relay.one(mark); q.Target != c.arrives {
			t.Errorf("%s arrives as %s, want %s", c.target, q.Target, c.arrives)
		}
	}
	if got := appended.ask(t, "POST "+exec+" HTTP/1.1\nHost: localhost"); got.Code != 403 {
		t.Errorf("exec with an appended path: %d, want the filter to see the client's path and answer 403", got.Code)
	}
	appended.all("GET /k8s/clusters/c%2Fx/api/v1/namespaces/x/pods/p/portforward", fakeapi.Upgrade("hi"))
	got := appended.ask(t, "GET /api/v1/namespaces/x/pods/p/portforward HTTP/1.1\nHost: localhost\nConnection: Upgrade\nUpgrade: SPDY/3.1")
	if got.Code != 101 {
		t.Errorf("an upgrade with an appended path: %d %q, want 101", got.Code, got.Body)
	}
}

// TestParityRequestBodies streams bodies through, with and without a length.
func TestParityRequestBodies(t *testing.T) {
	t.Parallel()
	r := parity(t)
	large := strings.Repeat("0123456789abcdef", 8<<10)
	chunk := func(s string) string { return fmt.Sprintf("%x;ext=1\r\n%s\r\n", len(s), s) }
	for i, c := range []struct {
		name, start, header, body string
		want                      string
	}{
		{"a length", "POST /api", "Content-Length: 5", "hello", "hello"},
		{"a length of 0", "POST /api", "Content-Length: 0", "", ""},
		{"neither", "POST /api", "X-A: b", "", ""},
		{"chunks", "POST /api", "Transfer-Encoding: chunked", chunk("hel") + chunk("lo") + "0\r\n\r\n", "hello"},
		{"chunks and trailers", "PUT /api", "Transfer-Encoding: chunked\nTrailer: X-T", chunk("hello") + "0\r\nX-T: 1\r\n\r\n", "hello"},
		{"no chunk", "POST /api", "Transfer-Encoding: chunked", "0\r\n\r\n", ""},
		{"chunks and a length", "POST /api", "Content-Length: 3\nTransfer-Encoding: chunked", chunk("hello") + "0\r\n\r\n", "hello"},
		{"GET with a body", "GET /api", "Content-Length: 5", "hello", "hello"},
		{"a watch with a body", "GET /api/v1/pods?watch=1", "Content-Length: 5", "hello", "hello"},
		{"a watch with chunks", "GET /api/v1/pods?watch=1", "Transfer-Encoding: chunked", chunk("hello") + "0\r\n\r\n", "hello"},
		{"DELETE with a body", "DELETE /api/v1/pods", "Content-Length: 5", "hello", "hello"},
		{"a method nobody knows, with a body", "FOO /api", "Content-Length: 5", "hello", "hello"},
		{"128 KiB with a length", "PUT /api", fmt.Sprint("Content-Length: ", len(large)), large, large},
		{"128 KiB in chunks", "PATCH /api", "Transfer-Encoding: chunked", chunk(large) + "0\r\n\r\n", large},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := fmt.Sprint("body ", i)
			w := r.dial(t)
			w.send(lines(c.start+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark+"\n"+c.header) + c.body)
			if got := w.receive("POST"); got.Code != 200 || got.Body != "fine" {
				t.Fatalf("answer %d %q", got.Code, got.Body)
			}
			q := r.one(mark)
			if q.BodyBytes != int64(len(c.want)) || q.BodyHash != fakeapi.HashOf([]byte(c.want)) {
				t.Errorf("%d bytes arrived, want the client's %d", q.BodyBytes, len(c.want))
			}
			if q.Header.Get("Trailer") != "" || q.Header.Get("Expect") != "" {
				t.Errorf("headers %v", q.Header)
			}
			w.serves() // nothing of the body was left for the next request
		})
	}
}

// TestParityContinue answers Expect: 100-continue itself, before the body.
func TestParityContinue(t *testing.T) {
	t.Parallel()
	r := parity(t)
	for _, size := range []int{5, 100_000} {
		mark := fmt.Sprint("continue ", size)
		w := r.dial(t)
		w.send(lines(fmt.Sprintf("PUT /api HTTP/1.1\nHost: localhost\n%s: %s\nExpect: 100-continue\nContent-Length: %d", markHeader, mark, size)))
		interim, err := w.in.ReadString('\n')
		if err != nil || interim != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("%q %v, want 100 before the body is sent", interim, err)
		}
		if _, err := w.in.Discard(2); err != nil {
			t.Fatal(err)
		}
		w.send(strings.Repeat("x", size))
		if got := w.receive("PUT"); got.Code != 200 {
			t.Errorf("answer %d %q", got.Code, got.Body)
		}
		if q := r.one(mark); q.BodyBytes != int64(size) || q.Header.Get("Expect") != "" {
			t.Errorf("%d bytes arrived with %v, want %d and no Expect", q.BodyBytes, q.Header, size)
		}
	}
	// A refused request does not ask for its body.
	w := r.dial(t)
	w.send(lines("PUT /api HTTP/1.1\nHost: evil.example\nExpect: 100-continue\nContent-Length: 5"))
	if got := w.receive("PUT"); got.Code != 403 || len(got.Interim) != 0 {
		t.Errorf("a refused request: %d after %d interim answers, want 403 at once", got.Code, len(got.Interim))
	}
}

// TestParityBrokenBodies breaks a request's body off or garbles it: the API
// server must not take what came for the whole.
func TestParityBrokenBodies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ header, body string }{
		"less than the length, small": {"Content-Length: 10", "hello"},
		"less than the length, large": {"Content-Length: 100000", strings.Repeat("x", 50_000)},
		"a chunk breaks off":          {"Transfer-Encoding: chunked", "a\r\nhello"},
		"no last chunk":               {"Transfer-Encoding: chunked", "5\r\nhello\r\n"},
		"a chunk's size is no number": {"Transfer-Encoding: chunked", "5\r\nhello\r\nxyz\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parity(t)
			w := r.dial(t)
			w.send(lines("POST /api HTTP/1.1\nHost: localhost\n"+markHeader+": broken\n"+c.header) + c.body)
			if half, ok := w.conn.(interface{ CloseWrite() error }); ok {
				if err := half.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if rest := w.rest(); strings.HasPrefix(rest, "HTTP/1.1 2") {
				t.Errorf("the client gets %q", rest)
			}
			r.awaitInFlight(0)
			for _, q := range r.seen("broken") {
				if q.BodyRead {
					t.Errorf("the API server took %d bytes for the whole body", q.BodyBytes)
				}
			}
		})
	}
}
