package daemon_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedUpgradesHaveNoBody refuses those that announce one.
func TestSharedUpgradesHaveNoBody(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("*", fakeapi.Upgrade(""))
	for name, body := range map[string]string{
		"length":  "\nContent-Length: 4\r\n\r\nbody",
		"chunked": "\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		for _, offer := range []string{websocket, spdy} {
			w := r.connect("proxy")
			head, tail, _ := strings.Cut(body, "\r\n\r\n")
			w.send(lines("POST "+podExec+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+name+bearer(aliceToken)+offer+head) + tail +
				lines("GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+name+bearer(aliceToken)))
			if got := w.receive("POST"); got.Code != 400 {
				t.Errorf("%s: answer %d %s", name, got.Code, got.Body)
			}
			_, _ = io.Copy(io.Discard, w.in) // to the connection's end, which may be a reset
			if arrived := r.arrived(name); len(arrived) != 0 {
				t.Errorf("%s: arrived: %+v", name, arrived)
			}
		}
	}
}

// TestSharedFailedUpgradeEndsTheConnection: what a client has sent after an
// upgrade that failed is never read as a request (CVE-2018-1002105).
func TestSharedFailedUpgradeEndsTheConnection(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	second := func(mark string) string {
		return lines("GET " + secrets + " HTTP/1.1\nHost: localhost\n" + markHeader + ": second-" + mark + bearer(aliceToken))
	}
	for mark, c := range map[string]struct {
		answer http.Handler
		code   int
	}{
		"403":       {fakeapi.Status(403, "Forbidden", "no", 0), 403},
		"500":       {fakeapi.Text(500, "no"), 500},
		"200":       {fakeapi.Text(200, "fine"), 502},
		"302":       {fakeapi.Respond(302, "", "Location", "https://evil.example/"), 502},
		"101-none":  {verbatim("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"), 400},
		"cut":       {fakeapi.RST(), 502},
		"malformed": {verbatim("HTTP/1.1 1x1 ?\r\n\r\n"), 502},
	} {
		r.all("GET "+podExec, c.answer)
		for _, offer := range []string{websocket, spdy} {
			w := r.connect("proxy")
			w.send(lines("GET "+podExec+" HTTP/1.1\nHost: localhost\n"+markHeader+": first-"+mark+bearer(aliceToken)+offer) + second(mark))
			if got := w.receive("GET"); got.Code != c.code {
				t.Errorf("%s: answer %d %s, want %d", mark, got.Code, got.Body, c.code)
			}
			_, _ = io.Copy(io.Discard, w.in) // to the connection's end, which may be a reset
		}
		if n := len(r.arrived("first-" + mark)); n != 2 {
			t.Errorf("%s: %d upgrades arrived, want 2", mark, n)
		}
		if arrived := r.arrived("second-" + mark); len(arrived) != 0 {
			t.Errorf("%s: what came after the upgrade arrived: %+v", mark, arrived)
		}
	}
}

// wantEnd fails unless the connection ends, and what was sent after its first
// request, with the mark "second", has reached no API server.
func (r *team) wantEnd(w *wire) {
	r.t.Helper()
	w.rest() // fails when it stays open
	if n := len(r.arrived("second")); n != 0 {
		r.t.Errorf("%d requests arrived of what came after the upgrade", n)
	}
}

// TestSharedRefusedUpgradeEndsTheConnection: where kuberelay refuses an upgrade,
// the bytes after it are no request of whoever the connection's uid or
// certificate identifies.
func TestSharedRefusedUpgradeEndsTheConnection(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) { clientOf(cfg, "local").Grants[0].Policy = "read-only" })
	second := lines("GET " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": second")
	w := r.connect("sock")
	w.send(lines("GET "+podExec+" HTTP/1.1\nHost: x"+websocket) + second)
	if got := w.receive("GET"); got.Code != 403 {
		t.Fatal(got.Code)
	}
	r.wantEnd(w)
}

// TestSharedFailedUpgradeWithALocationEndsTheConnection: so it is where the API
// server refuses and names another server.
func TestSharedFailedUpgradeWithALocationEndsTheConnection(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("GET "+pods+"?watch=1", fakeapi.Respond(403, "no", "Location", "https://evil.example/"))
	w := r.connect("proxy")
	w.send(lines("GET "+pods+"?watch=1 HTTP/1.1\nHost: localhost"+bearer(aliceToken)+websocket) +
		lines("GET "+secrets+" HTTP/1.1\nHost: localhost\n"+markHeader+": second"+bearer(aliceToken)))
	w.receive("GET")
	r.wantEnd(w)
}

// TestSharedUpgradeThatIsNotSentEndsTheConnection: so it is where an upgrade
// passes the gates and is then not sent, here because it cannot be put on record.
func TestSharedUpgradeThatIsNotSentEndsTheConnection(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	if err := r.Daemon.BreakAudit(); err != nil {
		t.Fatal(err)
	}
	w := r.connect("sock")
	w.send(lines("GET "+podExec+" HTTP/1.1\nHost: x"+websocket) + lines("GET "+pods+" HTTP/1.1\nHost: x\n"+markHeader+": second"))
	if got := w.receive("GET"); got.Code != 503 {
		t.Fatal(got.Code)
	}
	r.wantEnd(w)
}

// TestSharedServerSwitchesToWhatWasAskedFor: a 101 to a protocol that the client
// did not offer does not pass.
func TestSharedServerSwitchesToWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("GET "+podExec, verbatim("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSet-Cookie: a=b\r\n\r\n"))
	if got := r.ask(t, "GET "+podExec+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)+websocket); got.Code == 101 {
		t.Errorf("answer %d %v", got.Code, got.Header)
	}
}
