package daemon_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

const (
	websocket = "\nConnection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	spdy      = "\nConnection: Upgrade\nUpgrade: SPDY/3.1\nX-Stream-Protocol-Version: v4.channel.k8s.io"

	portForward = "/api/v1/namespaces/x/pods/p/portforward"
	exec        = "/api/v1/namespaces/x/pods/p/exec"
)

// TestParityUpgradeEchoes carries bytes both ways: those that the client sends
// together with its request, those that come together with the 101, and later
// ones; and then ends both sides with either.
func TestParityUpgradeEchoes(t *testing.T) {
	t.Parallel()
	r := parity(t)
	r.all("*", fakeapi.Upgrade("greeting"))
	for name, offer := range map[string]string{"websocket": websocket, "SPDY/3.1": spdy} {
		for _, method := range []string{"GET", "POST"} {
			mark := name + method
			w := r.dial(t)
			w.send(lines(method+" "+portForward+"?ports=1%2C2;x HTTP/1.1\nHost: localhost\nOrigin: http://localhost\nSec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA\n"+
				markHeader+": "+mark+offer) + "early ")
			got := w.receive(method)
			if got.Code != 101 || got.Header.Get("Upgrade") != name || got.Header.Get("Sec-Websocket-Protocol") != "v5.channel.k8s.io" {
				t.Fatalf("%s: answer %d %v %q", mark, got.Code, got.Header, got.Body)
			}
			if name == "websocket" && got.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("%s: the key was not answered: %v", mark, got.Header)
			}
			w.expect("greetingearly ")
			w.send("late")
			w.expect("late")
			w.conn.Close()

			q := r.one(mark)
			if q.Target != portForward+"?ports=1%2C2;x" || q.Host != r.Servers[0].Addr || q.Proto != "HTTP/1.1" || q.Reused {
				t.Errorf("%s: the request arrived as %s at %q over %s, reused %t", mark, q.Target, q.Host, q.Proto, q.Reused)
			}
			want := http.Header{
				"Authorization": {"Bearer " + testToken}, "User-Agent": {ownUserAgent}, "X-Forwarded-For": {"127.0.0.1"},
				"Connection": {"Upgrade"}, "Upgrade": {name}, "Origin": {"http://localhost"},
				"Sec-Websocket-Protocol": {"v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.eA"},
			}
			if name == "websocket" {
				want = merge(want, http.Header{"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}})
			} else {
				want.Set("X-Stream-Protocol-Version", "v4.channel.k8s.io")
			}
			if method == "POST" {
				want.Set("Content-Length", "0")
			}
			q.Header.Del("Audit-Id")
			q.Header.Del(markHeader)
			if diff := cmp.Diff(want, q.Header); diff != "" {
				t.Errorf("%s: headers, - want + got:\n%s", mark, diff)
			}
		}
	}
	r.Servers[0].AwaitDone("GET "+portForward, 2) // the server saw the client leave
	r.Servers[0].AwaitDone("POST "+portForward, 2)

	w := r.dial(t)
	w.send(lines("GET " + portForward + " HTTP/1.1\nHost: localhost" + websocket))
	if got := w.receive("GET"); got.Code != 101 {
		t.Fatal(got)
	}
	w.expect("greeting")
	r.Servers[0].CutConnections()
	w.ended()
}

// expect reads exactly these bytes.
func (w *wire) expect(want string) {
	w.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(w.in, got); err != nil || string(got) != want {
		w.t.Fatalf("read %q %v, want %q", got[:n], err, want)
	}
}

// TestParitySwitchIsVerbatim passes the 101 to the byte, whatever its spelling.
func TestParitySwitchIsVerbatim(t *testing.T) {
	t.Parallel()
	r := parity(t)
	const head = "HTTP/1.1 101 As You Like\r\nupgrade: WebSocket\r\nX-Z: 1\r\nCONNECTION:Upgrade\r\nSec-WebSocket-Accept:   x\r\nX-A: 2\r\nX-A: 3\r\n\r\n"
	r.all("GET "+portForward, verbatim(head+"bytes"))
	w := r.dial(t)
	w.send(lines("GET " + portForward + " HTTP/1.1\nHost: localhost" + websocket))
	if got := w.rest(); got != head+"bytes" {
		t.Errorf("got %q, want %q", got, head+"bytes")
	}
}

// TestParityWhatIsUpgraded holds which offers pass, and that the others are
// answered as plain requests: upstream sees nothing of them.
func TestParityWhatIsUpgraded(t *testing.T) {
	t.Parallel()
	r := parity(t)
	r.all("*", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Header.Get("Upgrade") != "" {
			fakeapi.Upgrade("").ServeHTTP(w, q)
			return
		}
		fakeapi.Text(200, "plain").ServeHTTP(w, q)
	}))
	const upgraded, plain = true, false
	for i, c := range []struct {
		start, headers string
		want           bool
	}{
		{"GET " + portForward, websocket, upgraded},
		{"GET " + portForward, spdy, upgraded},
		{"GET " + portForward, "\nConnection: upgrade\nUpgrade: WebSocket", upgraded},
		{"GET " + portForward, "\nConnection: Upgrade\nUpgrade: h2c, websocket", upgraded},
		{"GET " + portForward, "\nConnection: Upgrade\nUpgrade: h2c\nUpgrade: websocket", upgraded},
		{"GET " + portForward, "\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", plain},
		{"GET " + portForward, "\nConnection: Upgrade\nUpgrade: SPDY/2", plain},
		{"GET " + portForward, "\nConnection: Upgrade\nUpgrade: websocketx", plain},
		{"GET " + portForward, "\nConnection: Upgrade", plain},
		{"GET " + portForward, "\nUpgrade: websocket", plain},
		{"GET " + portForward, "\nConnection: keep-alive\nUpgrade: websocket", plain},
		{"GET /api/v1/namespaces/x/pods/p/log?follow=1", websocket, upgraded},
		{"GET /api/v1/namespaces/x/pods/p:80/proxy/ws", websocket, upgraded},
		{"GET /api/v1/namespaces/x/services/s/proxy/", websocket, upgraded},
		{"GET /api/v1/nodes/n/proxy/run", websocket, upgraded},
		{"GET /api/v1/pods?watch=1", websocket, upgraded},
		{"GET /api/v1/watch/pods", websocket, upgraded},
		{"GET /api/v1/pods", websocket, plain},
		{"GET /api/v1/namespaces/x/pods/p", websocket, plain},
		{"GET /api/v1/namespaces/x/pods/p/status", websocket, plain},
		{"GET /apis/apps/v1/namespaces/x/deployments/d/scale", websocket, plain},
		{"POST /api/v1/namespaces", spdy, plain},
		{"GET /version", websocket, plain},
		{"GET /metrics", websocket, plain},
		{"GET /", websocket, plain},
	} {
		mark := fmt.Sprint("offer ", i)
		w := r.dial(t)
		w.send(lines(c.start + " HTTP/1.1\nHost: localhost\n" + markHeader + ": " + mark + c.headers))
		got := w.receive("GET")
		q := r.one(mark)
		if c.want == upgraded {
			if offers := q.Header.Values("Upgrade"); got.Code != 101 || len(offers) != 1 || strings.EqualFold(offers[0], "h2c") {
				t.Errorf("%s %q: answer %d, upstream was offered %q; want 101 for the one protocol that passes", c.start, c.headers, got.Code, offers)
			}
			w.conn.Close()
			continue
		}
		if got.Code != 200 || got.Body != "plain" {
			t.Errorf("%s %q: answer %d %q, want it handled as plain", c.start, c.headers, got.Code, got.Body)
		}
		for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} {
			if v := q.Header.Get(name); v != "" {
				t.Errorf("%s %q: upstream got %s: %s", c.start, c.headers, name, v)
			}
		}
		w.serves()
	}
	// HTTP/1.0 has no upgrades (RFC 9110, section 7.8).
	if got := r.ask(t, "GET "+portForward+" HTTP/1.0\nHost: localhost"+websocket); got.Code != 200 || got.Body != "plain" {
		t.Errorf("HTTP/1.0: answer %d %q, want it handled as plain", got.Code, got.Body)
	}
}

// TestParityAggregatedAPIsUpgrade lets the subresources of an aggregated API
// switch protocols, as KubeVirt's console does, once it is known to be one.
func TestParityAggregatedAPIsUpgrade(t *testing.T) {
	t.Parallel()
	r := start(t, servers(t, 1))
	const console = "/apis/metrics.k8s.io/v1beta1/namespaces/x/machines/m/console"
	r.all("GET "+console, fakeapi.Upgrade("login:"))
	r.awaitAggregated("/apis/metrics.k8s.io/v1beta1/nodes")
	w := r.dial(t)
	w.send(lines("GET " + console + " HTTP/1.1\nHost: localhost" + websocket))
	if got := w.receive("GET"); got.Code != 101 {
		t.Fatalf("answer %d %q, want 101", got.Code, got.Body)
	}
	w.expect("login:")
}

// awaitAggregated waits until the daemon knows an API group to be another
// server's: its 503s are then passed and not retried as the API server's own.
func (r *relay) awaitAggregated(path string) {
	r.t.Helper()
	r.all("GET "+path, fakeapi.Aggregated503())
	if got := r.do("GET", path, ""); got.Code != 503 {
		r.t.Fatalf("%s: %d %q, want 503", path, got.Code, got.Body)
	}
}

// TestParityExecAndAttach are refused by default, and work when the filter
// says so.
func TestParityExecAndAttach(t *testing.T) {
	t.Parallel()
	const attach = "/api/v1/namespaces/x/pods/p/attach"
	relaxed := listener(func(l *config.Listener) { l.Filter.RejectPaths = filter.SplitList("") })
	for name, c := range map[string]struct {
		edit func(*config.Configuration)
		code int
	}{
		"by default":             {func(*config.Configuration) {}, 403},
		"with no rejected paths": {relaxed, 101},
		"without filter":         {withoutFilter(), 101},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parity(t, c.edit)
			r.all("/api/v1/namespaces/x/pods/p/*", fakeapi.Upgrade("$ "))
			for _, start := range []string{"POST " + exec, "GET " + exec, "POST " + attach, "GET " + attach} {
				for _, offer := range []string{websocket, spdy} {
					w := r.dial(t)
					w.send(lines(start + "?command=sh&stdin=1 HTTP/1.1\nHost: localhost\nContent-Length: 0" + offer))
					got := w.receive("GET")
					if got.Code != c.code {
						t.Fatalf("%s: answer %d %q, want %d", start, got.Code, got.Body, c.code)
					}
					if c.code == 403 {
						if got.head() != forbidden {
							t.Errorf("%s:\n%s", start, got.head())
						}
						w.serves()
						continue
					}
					w.send("ls\n")
					w.expect("$ ls\n")
					w.conn.Close()
				}
			}
			if n := r.received(exec) + r.received(attach); c.code == 403 && n != 0 {
				t.Errorf("%d requests went upstream", n)
			}
		})
	}
}

// TestParityFailedUpgrades answers in the upstream's place or passes its
// answer, and then closes: what the client sent after its request is of a
// protocol that nobody speaks here, and never a request (CVE-2018-1002105).
func TestParityFailedUpgrades(t *testing.T) {
	t.Parallel()
	const target = "GET " + portForward
	smuggled := lines("DELETE /api/v1/namespaces/x HTTP/1.1\nHost: localhost\n" + markHeader + ": smuggled")
	quick := func(cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = 10 * time.Millisecond
	}
	for name, c := range map[string]struct {
		answer  http.Handler
		request string // after the offer
		code    int
		body    string // part of it
		status  bool   // it is a Status of ours
	}{
		"200":       {fakeapi.Text(200, "no"), "", 500, "invalid upgrade response: status code 200\n", false},
		"302":       {fakeapi.Respond(302, "", "Location", "https://evil.example/"), "", 500, "invalid upgrade response: status code 302\n", false},
		"403":       {fakeapi.Respond(403, "denied", "X-A", "b", "Content-Type", "text/x"), "", 403, "denied", false},
		"500":       {fakeapi.Text(500, "error dialing backend"), "", 500, "error dialing backend", false},
		"426":       {fakeapi.Respond(426, "", "Upgrade", "SPDY/3.1", "Connection", "Upgrade"), "", 426, "", false},
		"hang-up":   {fakeapi.Hangup(), "", 502, `"kind":"Status"`, true},
		"malformed": {verbatim("HTTP/1.1 101\x01\r\n\r\n"), "", 502, `"kind":"Status"`, true},
		"a body":    {fakeapi.Upgrade(""), "\nContent-Length: 7", 400, "an upgrade request cannot have a body", true},
		"chunks":    {fakeapi.Upgrade(""), "\nTransfer-Encoding: chunked", 400, "an upgrade request cannot have a body", true},
		"down":      {nil, "", 503, `"kind":"Status"`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := parity(t, quick)
			if c.answer != nil {
				r.all(target, c.answer)
			} else {
				r.Servers[0].Down()
			}
			w := r.dial(t)
			w.send(lines(target+" HTTP/1.1\nHost: localhost"+websocket+c.request) + smuggled)
			got := w.receive("GET")
			if got.Code != c.code || !strings.Contains(got.Body, c.body) {
				t.Errorf("answer %d %q, want %d with %q", got.Code, got.Body, c.code, c.body)
			}
			if c.status && got.Header.Get("Audit-Id") == "" {
				t.Errorf("header %v, want an Audit-Id", got.Header)
			}
			if name == "403" && (got.Header.Get("X-A") != "b" || got.Header.Get("Content-Type") != "text/x") {
				t.Errorf("header %v, want the upstream's", got.Header)
			}
			if got.Header.Get("Location") != "" || got.Header.Get("Upgrade") != "" {
				t.Errorf("header %v", got.Header)
			}
			w.ended()
			if n := len(r.seen("smuggled")); n != 0 {
				t.Errorf("%d requests were made of what the client sent after its offer", n)
			}
			if n := r.received(target); c.code == 400 && n != 0 {
				t.Errorf("%d requests went upstream", n)
			}
		})
	}
}

// TestParityUpgradeClientLeaves ends the upstream's side of an upgrade that is
// not answered yet.
func TestParityUpgradeClientLeaves(t *testing.T) {
	t.Parallel()
	r := parity(t)
	r.all("GET "+portForward, fakeapi.Never())
	w := r.dial(t)
	w.send(lines("GET " + portForward + " HTTP/1.1\nHost: localhost" + websocket))
	r.Servers[0].Await("GET "+portForward, 1)
	w.conn.Close()
	r.Servers[0].AwaitDone("GET "+portForward, 1)
}

// TestParityUpgradesAreCounted shows a tunnel in the status while it lasts, and
// frees its place in the balancer.
func TestParityUpgradesAreCounted(t *testing.T) {
	t.Parallel()
	r := parity(t, func(cfg *config.Configuration) { cfg.Clusters[0].Balancer.Policy = balancer.Policy("least-request") })
	r.all("GET "+portForward, fakeapi.Upgrade("hi"))
	w := r.dial(t)
	w.send(lines("GET " + portForward + " HTTP/1.1\nHost: localhost" + websocket))
	w.receive("GET")
	w.expect("hi")
	if f := r.Daemon.Status().InFlight; f.Upgrades != 1 || f.Requests != 0 {
		t.Errorf("in flight %+v, want one upgrade", f)
	}
	r.awaitStreams(1)
	w.conn.Close()
	r.Servers[0].AwaitDone("GET "+portForward, 1)
	r.awaitStreams(0)
}

// awaitStreams waits until the first server has n streams, as many upgrades
// are in flight, and it has no request: the daemon's own, for discovery, end.
func (r *relay) awaitStreams(n int64) {
	r.t.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s, f := r.state(0), r.Daemon.Status().InFlight
		if s.Streams == n && s.InFlight == 0 && f.Upgrades == n {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			r.t.Fatalf("the server has %d streams and %d requests, in flight %+v; want %d streams", s.Streams, s.InFlight, f, n)
		}
	}
}
