package daemon_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedKeepsBrowsersOut sends what a page of another site, or one whose
// name was rebound to this machine, makes a browser send.
func TestSharedKeepsBrowsersOut(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("GET "+podExec, fakeapi.Upgrade(""))
	for name, c := range map[string]struct {
		target, headers string
		code            int
	}{
		"rebound host":              {pods, "\nHost: evil.example", 421},
		"rebound host with a port":  {pods, "\nHost: evil.example:8001", 421},
		"a host that begins alike":  {pods, "\nHost: localhost.evil.example", 421},
		"a host that ends alike":    {pods, "\nHost: evil-localhost", 421},
		"a user before the host":    {pods, "\nHost: localhost@evil.example", 400},
		"another address":           {pods, "\nHost: 10.0.0.1", 421},
		"all addresses":             {pods, "\nHost: 0.0.0.0", 421},
		"an address as a number":    {pods, "\nHost: 2130706433", 421},
		"a port that is a name":     {pods, "\nHost: localhost:evil", 421},
		"no host":                   {pods, "\nHost:", 421},
		"an absolute target":        {"http://evil.example" + pods, "\nHost: localhost", 421},
		"an absolute https target":  {"https://evil.example" + pods, "\nHost: localhost", 421},
		"an absolute one with user": {"http://localhost@evil.example" + pods, "\nHost: localhost", 421},
		"the forwarded host":        {pods, "\nHost: evil.example\nX-Forwarded-Host: localhost\nForwarded: host=localhost", 421},
		"an origin":                 {pods, "\nHost: localhost\nOrigin: https://evil.example", 403},
		"its own origin":            {pods, "\nHost: localhost\nOrigin: http://localhost", 403},
		"the origin null":           {pods, "\nHost: localhost\nOrigin: null", 403},
		"an empty origin":           {pods, "\nHost: localhost\nOrigin:", 403},
		"an origin in lower case":   {pods, "\nHost: localhost\norigin: https://evil.example", 403},
		"cross-site":                {pods, "\nHost: localhost\nSec-Fetch-Site: cross-site", 403},
		"same-site":                 {pods, "\nHost: localhost\nSec-Fetch-Site: same-site", 403},
		"same-origin":               {pods, "\nHost: localhost\nSec-Fetch-Site: same-origin", 403},
		"a word of the future":      {pods, "\nHost: localhost\nSec-Fetch-Site: later", 403},
		"a websocket":               {podExec, "\nHost: localhost\nOrigin: https://evil.example" + websocket, 403},
		"a websocket of its own":    {podExec, "\nHost: localhost\nOrigin: http://localhost" + websocket, 403},
		"a rebound websocket":       {podExec, "\nHost: evil.example" + websocket, 421},
	} {
		mark := strings.ReplaceAll(name, " ", "-")
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			got := r.ask(t, method+" "+c.target+" HTTP/1.1\nConnection: close\n"+markHeader+": "+mark+bearer(aliceToken)+c.headers)
			if got.Code != c.code {
				t.Errorf("%s %s: answer %d %s, want %d", method, name, got.Code, got.Body, c.code)
			}
			for field := range got.Header {
				if strings.HasPrefix(field, "Access-Control-") {
					t.Errorf("%s %s: %s: %v", method, name, field, got.Header[field])
				}
			}
		}
		if arrived := r.arrived(mark); len(arrived) != 0 {
			t.Errorf("%s: arrived: %+v", name, arrived)
		}
	}
}

// TestSharedAnswersToItsOwnNames holds who gets in.
func TestSharedAnswersToItsOwnNames(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) { cfg.Listeners[1].Hosts = []string{"relay.example.org"} })
	port := r.URL[strings.LastIndexByte(r.URL, ':'):]
	for host, code := range map[string]int{"localhost": 200, "LOCALHOST" + port: 200, "127.0.0.1": 200, "[::1]": 200, "localhost.": 200, "127.0.0.1:1": 200, "relay.example.org": 421} {
		if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: "+host+"\nSec-Fetch-Site: none"+bearer(aliceToken)); got.Code != code {
			t.Errorf("%s: answer %d %s, want %d", host, got.Code, got.Body, code)
		}
	}
	for host, code := range map[string]int{"relay.example.org": 200, "Relay.Example.Org.:8443": 200, "localhost": 421, "127.0.0.1": 200, "evil.example": 421} {
		w := r.connect("tls")
		w.send(lines("GET " + pods + " HTTP/1.1\nHost: " + host + bearer(aliceToken)))
		if got := w.receive("GET"); got.Code != code {
			t.Errorf("over TLS, %s: answer %d %s, want %d", host, got.Code, got.Body, code)
		}
	}
}

// TestSharedSocketKnowsTheUID identifies by the uid on a Unix socket, and takes
// nothing else there.
func TestSharedSocketKnowsTheUID(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	local := http.Header{"Authorization": {"Bearer " + brokerToken}, "Impersonate-User": {"local"}}
	for mark, c := range map[string]struct {
		header string
		code   int
	}{
		"plain":   {"", 200},
		"host":    {"\nHost: whatever.example", 200},
		"spoofed": {"\nX-Remote-User: root\nX-Forwarded-For: 1.2.3.4\nCookie: a=b", 200},
		"as-it":   {"\nImpersonate-User: local", 200},
		"token":   {bearer(aliceToken), 401},
		"as-root": {"\nImpersonate-User: root", 403},
		"browser": {"\nOrigin: http://localhost", 403},
	} {
		w := r.connect("sock")
		if !strings.Contains(c.header, "Host:") {
			c.header += "\nHost: localhost"
		}
		w.send(lines("GET " + pods + " HTTP/1.1\n" + markHeader + ": " + mark + c.header))
		if got := w.receive("GET"); got.Code != c.code {
			t.Errorf("%s: answer %d %s, want %d", mark, got.Code, got.Body, c.code)
		}
		arrived := r.arrived(mark)
		if len(arrived) != map[int]int{200: 1}[c.code] {
			t.Errorf("%s: %d requests arrived", mark, len(arrived))
		}
		for _, q := range arrived {
			checkArrived(t, q, local)
			if f := q.Header["X-Forwarded-For"]; f != nil {
				t.Errorf("%s: arrived with X-Forwarded-For %q", mark, f)
			}
		}
	}
}

// TestSharedTokensOfTheSocket are good where tokens are, for the client of the
// uid, until their client is revoked; their path is no cluster's.
func TestSharedTokensOfTheSocket(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	const path = "/kuberelay/v1/credential"
	for name, c := range map[string]struct {
		listener, request string
		code              int
	}{
		"by GET":           {"sock", "GET " + path + " HTTP/1.1\nHost: x", 405},
		"over TCP":         {"proxy", "POST " + path + " HTTP/1.1\nHost: localhost" + bearer(aliceToken), 404},
		"with a token":     {"sock", "POST " + path + " HTTP/1.1\nHost: x" + bearer(aliceToken), 401},
		"of a page":        {"sock", "POST " + path + " HTTP/1.1\nHost: x\nOrigin: http://x", 403},
		"of no cluster":    {"sock", "POST /clusters/none" + path + " HTTP/1.1\nHost: x", 403},
		"another spelling": {"sock", "POST /kuberelay//v1/credential HTTP/1.1\nHost: x", 400},
	} {
		w := r.connect(c.listener)
		w.send(lines(c.request + "\nContent-Length: 0"))
		if got := w.receive("POST"); got.Code != c.code {
			t.Errorf("%s: answer %d %s, want %d", name, got.Code, got.Body, c.code)
		}
	}
	w := r.connect("sock")
	w.send(lines("POST " + path + " HTTP/1.1\nHost: x\nContent-Length: 0"))
	got := w.receive("POST")
	_, token, found := strings.Cut(got.Body, `"token":"`)
	if token, _, _ = strings.Cut(token, `"`); got.Code != 200 || !found || got.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("answer %d %v %s", got.Code, got.Header, got.Body)
	}
	for mark, c := range map[string]struct {
		token string
		code  int
	}{
		"good": {token, 200}, "cut": {token[:len(token)-1], 401}, "longer": {token + "A", 401},
		"prefix": {"kuberelay-m1.", 401}, "other": {strings.Replace(token, "m1.A", "m1.B", 1), 401},
	} {
		got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark+bearer(c.token))
		if got.Code != c.code {
			t.Errorf("%s: answer %d %s, want %d", mark, got.Code, got.Body, c.code)
		}
		for _, q := range r.arrived(mark) {
			checkArrived(t, q, http.Header{"Authorization": {"Bearer " + brokerToken}, "Impersonate-User": {"local"}})
		}
	}
	for _, q := range append(r.Servers[0].Requests(), r.Other.Requests()...) {
		if strings.Contains(q.Target, "kuberelay/") {
			t.Errorf("arrived: %s", q.Target)
		}
	}
}

// TestSharedPipelinedRequestsAreEachTheirOwn sends several clients' requests
// over one connection at once.
func TestSharedPipelinedRequestsAreEachTheirOwn(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	w := r.connect("proxy")
	var all strings.Builder
	for _, token := range []string{aliceToken, bobToken, aliceToken, "wrong"} {
		all.WriteString(lines("GET " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": piped" + bearer(token)))
	}
	w.send(all.String())
	for i, code := range []int{200, 200, 200, 401} {
		resp, err := http.ReadResponse(w.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		if resp.StatusCode != code {
			t.Errorf("answer %d: %d, want %d", i, resp.StatusCode, code)
		}
	}
	arrived := r.arrived("piped")
	if len(arrived) != 3 {
		t.Fatalf("%d requests arrived, want 3", len(arrived))
	}
	for i, who := range []http.Header{asAlice(), asBob(), asAlice()} {
		checkArrived(t, arrived[i], who)
	}
}

// TestSharedOptionsOfTheServerIsARequest: OPTIONS * passes the gates and is on
// record like any other request, and is not net/http's to answer.
func TestSharedOptionsOfTheServerIsARequest(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	got := r.ask(t, "OPTIONS * HTTP/1.1\nHost: evil.example\nOrigin: https://evil.example")
	if got.Code == 200 || len(r.events("")) == 0 {
		t.Errorf("answer %d, %d events", got.Code, len(r.events("")))
	}
}

// TestSharedEverySiteOfARequestCounts refuses a request when one of several
// Sec-Fetch-Site fields does.
func TestSharedEverySiteOfARequestCounts(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\nSec-Fetch-Site: none\nSec-Fetch-Site: cross-site"+bearer(aliceToken)); got.Code != 403 {
		t.Errorf("answer %d", got.Code)
	}
}

// TestSharedStrangersAreSentAway closes the connection after a 401, so that
// strangers hold none.
func TestSharedStrangersAreSentAway(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	w := r.connect("proxy")
	w.send(lines("GET " + pods + " HTTP/1.1\nHost: localhost"))
	if got := w.receive("GET"); got.Code != 401 {
		t.Fatal(got.Code)
	}
	w.rest() // fails when it stays open
}
