package daemon_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedMessagesHaveOneFraming sends messages whose end can be read in two
// ways, with another request inside: one message arrives, with one framing, or
// none does. What is inside has no token, so it never counts as one.
func TestSharedMessagesHaveOneFraming(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	inner := "GET " + secrets + " HTTP/1.1\r\nHost: localhost\r\n" + markHeader + ": inner\r\n\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)
	for name, c := range map[string]struct{ headers, body string }{
		"CL and TE":                {"\nContent-Length: 5\nTransfer-Encoding: chunked", chunk},
		"CL.TE, body ends early":   {fmt.Sprintf("\nContent-Length: %d\nTransfer-Encoding: chunked", 5+len(inner)), "0\r\n\r\n" + inner},
		"TE and CL 0":              {"\nTransfer-Encoding: chunked\nContent-Length: 0", chunk},
		"two lengths":              {fmt.Sprintf("\nContent-Length: 0\nContent-Length: %d", len(inner)), inner},
		"two equal lengths":        {"\nContent-Length: 4\nContent-Length: 4", "body" + inner},
		"a list of lengths":        {"\nContent-Length: 4, 4", "body" + inner},
		"a signed length":          {"\nContent-Length: +4", "body" + inner},
		"a hex length":             {"\nContent-Length: 0x4", "body" + inner},
		"an underscore length":     {"\nContent-Length: 4\nContent_Length: 0", "body" + inner},
		"another coding":           {"\nTransfer-Encoding: xchunked", chunk},
		"two codings":              {"\nTransfer-Encoding: chunked\nTransfer-Encoding: identity", chunk},
		"a list of codings":        {"\nTransfer-Encoding: gzip, chunked", chunk},
		"a tab before a coding":    {"\nTransfer-Encoding:\tchunked", chunk},
		"a space in the name":      {"\nTransfer-Encoding : chunked", chunk},
		"an underscore coding":     {"\nTransfer_Encoding: chunked\nContent-Length: 4", "body" + inner},
		"a folded coding":          {"\nX: y\n Transfer-Encoding: chunked", inner},
		"chunk extensions":         {"\nTransfer-Encoding: chunked", fmt.Sprintf("%x;a=b;c=\"d\n\"\r\n%s\r\n0;x\r\n\r\n", len(inner), inner)},
		"a chunk size with a sign": {"\nTransfer-Encoding: chunked", "-1\r\n" + chunk},
		"bare line feeds":          {"\nTransfer-Encoding: chunked", strings.ReplaceAll(chunk, "\r\n", "\n")},
		"GET with a body":          {fmt.Sprintf("\nContent-Length: %d", len(inner)), inner},
	} {
		mark := strings.ReplaceAll(name, " ", "-")
		w := r.connect("proxy")
		w.send(lines("POST "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark+bearer(aliceToken)+c.headers) + c.body)
		got := w.receive("POST")
		w.conn.Close()
		if got.Code != 200 && got.Code != 400 && got.Code != 501 {
			t.Errorf("%s: answer %d %s", name, got.Code, got.Body)
		}
		arrived := r.arrived(mark)
		// The head of a stream that turns out to be broken has gone; its body
		// never comes to an end.
		if len(arrived) > 1 || len(arrived) == 1 && got.Code != 200 && arrived[0].BodyRead {
			t.Errorf("%s: answer %d, arrived %+v", name, got.Code, arrived)
		}
		for _, q := range arrived {
			checkArrived(t, q, asAlice())
			_, length := q.Header["Content-Length"]
			if chunked := q.Framing == "chunked"; chunked == length && q.BodyBytes > 0 {
				t.Errorf("%s: arrived with framing %s and Content-Length %v", name, q.Framing, q.Header["Content-Length"])
			}
			for field := range q.Header {
				if plain := plainName(field); plain == "transfer-encoding" || plain == "content-length" && field != "Content-Length" {
					t.Errorf("%s: arrived with %s: %q", name, field, q.Header[field])
				}
			}
		}
	}
	if arrived := r.arrived("inner"); len(arrived) != 0 {
		t.Errorf("what was inside arrived: %+v", arrived)
	}
}

// TestSharedOffersThatDoNotPass are handled as plain requests, or refused;
// nothing of them arrives.
func TestSharedOffersThatDoNotPass(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("*", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Upgrade") != "" {
			fakeapi.Upgrade("").ServeHTTP(w, q)
			return
		}
		fakeapi.Text(200, "plain").ServeHTTP(w, q)
	}))
	for name, offer := range map[string]string{
		"curl's h2c":       "\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
		"TLS":              "\nConnection: Upgrade\nUpgrade: TLS/1.2",
		"another SPDY":     "\nConnection: Upgrade\nUpgrade: SPDY/2",
		"an unnamed one":   "\nUpgrade: websocket",
		"an underscore":    "\nConnection: Up_grade\nUp_grade: websocket",
		"a longer name":    "\nConnection: Upgrade\nUpgrade: websocket/13",
		"an empty one":     "\nConnection: Upgrade\nUpgrade:",
		"h2c on this path": "\nConnection: Upgrade\nUpgrade: h2c",
	} {
		for _, path := range []string{podExec, pods, pods + "?watch=1"} {
			mark := strings.ReplaceAll(name, " ", "-") + path
			w := r.connect("proxy")
			w.send(lines("GET " + path + " HTTP/1.1\nHost: localhost\n" + markHeader + ": " + mark + bearer(aliceToken) + offer))
			if got := w.receive("GET"); got.Code != 200 || got.Body != "plain" {
				t.Errorf("%s %s: answer %d %s", name, path, got.Code, got.Body)
			}
			w.conn.Close()
			for _, q := range r.arrived(mark) {
				checkArrived(t, q, asAlice())
				for field := range q.Header {
					if plain := plainName(field); plain == "upgrade" || plain == "connection" || plain == "http2-settings" {
						t.Errorf("%s %s: arrived with %s: %q", name, path, field, q.Header[field])
					}
				}
			}
		}
	}
	// An upgrade where none is used is a plain request.
	w := r.connect("proxy")
	w.send(lines("GET " + pods + "/p HTTP/1.1\nHost: localhost\n" + markHeader + ": not-here" + bearer(aliceToken) + websocket))
	if got := w.receive("GET"); got.Code != 200 {
		t.Errorf("answer %d %s", got.Code, got.Body)
	}
	for _, q := range r.arrived("not-here") {
		checkArrived(t, q, asAlice())
		if q.Header.Get("Upgrade") != "" {
			t.Errorf("arrived with %v", q.Header)
		}
	}
}

// TestSharedSpeaksHTTP1 refuses the preface of HTTP/2 and whatever else is no
// request for a path.
func TestSharedSpeaksHTTP1(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	before := len(r.Servers[0].Requests("*"))
	for name, raw := range map[string]string{
		"preface":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"preface with a host": "PRI * HTTP/2.0\r\nHost: localhost\r\n\r\nSM\r\n\r\n",
		"asterisk":            lines("GET * HTTP/1.1\nHost: localhost" + bearer(aliceToken)),
		"CONNECT":             lines("CONNECT localhost:443 HTTP/1.1\nHost: localhost:443" + bearer(aliceToken)),
		"CONNECT to a path":   lines("CONNECT " + pods + " HTTP/1.1\nHost: localhost" + bearer(aliceToken)),
		"TRACE":               lines("TRACE " + pods + " HTTP/1.1\nHost: localhost" + bearer(aliceToken)),
		"another scheme":      lines("GET gopher://localhost/x HTTP/1.1\nHost: evil" + bearer(aliceToken)),
		"no path":             lines("GET http://localhost HTTP/1.1\nHost: localhost" + bearer(aliceToken)),
		"another version":     lines("GET " + pods + " HTTP/3.0\nHost: localhost" + bearer(aliceToken)),
		"no host":             lines("GET " + pods + " HTTP/1.1" + bearer(aliceToken)),
		"two hosts":           lines("GET " + pods + " HTTP/1.1\nHost: localhost\nHost: evil.example" + bearer(aliceToken)),
		"HTTP/1.0":            lines("GET " + pods + " HTTP/1.0" + bearer(aliceToken)),
	} {
		w := r.connect("proxy")
		w.send(raw)
		if got := w.receive("GET"); got.Code < 400 && name != "another scheme" {
			t.Errorf("%s: answer %d %s", name, got.Code, got.Body)
		}
		w.conn.Close()
	}
	for _, q := range r.Servers[0].Requests("*")[before:] {
		if strings.HasPrefix(q.Target, pods) || q.Target == "/" {
			t.Errorf("arrived: %s %s", q.Method, q.Target)
		}
	}
}

// TestSharedLimitsAreAnsweredHere: what is over a limit does not arrive.
func TestSharedLimitsAreAnsweredHere(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		bob := &clientOf(cfg, "bob").Limits
		bob.RequestsPerSecond, bob.Burst = 0.01, 3
		clientOf(cfg, "alice").Limits.MaxWatches = 1
		clientOf(cfg, "alice").Limits.MaxUpgrades = 1
		clientOf(cfg, "alice").Limits.MaxInFlight = 1
	})
	for n := range 6 {
		got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": bob"+bearer(bobToken))
		if n < 3 && got.Code != 200 || n >= 3 && (got.Code != 429 || got.Header.Get("Retry-After") == "") {
			t.Errorf("request %d: answer %d %v", n, got.Code, got.Header)
		}
	}
	if n := len(r.arrived("bob")); n != 3 {
		t.Errorf("%d requests arrived, want 3", n)
	}

	r.Servers[0].Watch(pods, nil)
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	held := make(chan struct{})
	r.all("GET "+pods+"/held", fakeapi.Until(held, fakeapi.Text(200, "fine")))
	defer close(held)
	r.watch(aliceToken)
	r.tunnelTo(aliceToken, podExec, websocket)
	short := r.connect("proxy")
	short.send(lines("GET " + pods + "/held HTTP/1.1\nHost: localhost" + bearer(aliceToken)))
	r.Servers[0].Await("GET "+pods+"/held", 1)
	for path, offer := range map[string]string{pods + "?watch=1": "", podExec: websocket, pods + "/p": "", pods + "/p/log?follow=1": "", pods + "/p/proxy/x": "", "/clusters/other" + pods: ""} {
		got := r.ask(t, "GET "+path+" HTTP/1.1\nHost: localhost\n"+markHeader+": alice"+bearer(aliceToken)+offer)
		if got.Code != 429 || got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: answer %d %s, want 429", path, got.Code, got.Body)
		}
	}
	if arrived := r.arrived("alice"); len(arrived) != 0 {
		t.Errorf("arrived: %+v", arrived)
	}
}

// TestSharedUnknownClientsReachNothing: a body that nobody may send is not read,
// and not asked for.
func TestSharedUnknownClientsReachNothing(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	started := time.Now()
	w := r.connect("proxy")
	w.send(lines("POST " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": nobody\nExpect: 100-continue\nContent-Length: 1000000"))
	if got := w.receive("POST"); got.Code != 401 || len(got.Interim) != 0 {
		t.Errorf("answer %d, interim %v: want 401 before the body", got.Code, got.Interim)
	}
	w.ended()
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("refused after %v", took)
	}
	if arrived := r.arrived("nobody"); len(arrived) != 0 {
		t.Errorf("arrived: %+v", arrived)
	}
}
