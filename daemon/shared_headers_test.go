package daemon_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// webSocketBearer is a websocket subprotocol that carries a token.
func webSocketBearer(token string) string {
	return "base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(token))
}

// neutral are header lines by which a client tries to be somebody else, to
// look as if it came from elsewhere, or to have something of kuberelay's own
// taken out, and that change nothing.
var neutral = map[string]string{
	"Connection names what is set here":       "\nConnection: close, Impersonate-User, Impersonate-Group, Authorization, Audit-Id, X-Forwarded-For",
	"Connection names it in another spelling": "\nConnection: impersonate-user\nconnection: AUTHORIZATION,impersonate_group",
	"Impersonate_User":                        "\nImpersonate_User: root\nimpersonate_group: system:masters\nIMPERSONATE_UID: 0\nImpersonate_Extra_scopes: x",
	"half of it underscores":                  "\nImpersonate_Extra-Scopes: x\nX_Remote-User: root",
	"X-Remote":                                "\nX-Remote-User: root\nX-Remote-Group: system:masters\nX-Remote-Uid: 0\nX-Remote-Extra-Scopes: x",
	"X_Remote":                                "\nX_Remote_User: root\nx_remote_group: system:masters",
	"X-Forwarded":                             "\nX-Forwarded-For: 1.2.3.4\nX-Forwarded-User: root\nX-Forwarded-Host: h\nX-Forwarded-Proto: https\nX_Forwarded_For: 1.2.3.4\nX-Forwarded-Client-Cert: x",
	"Forwarded and Via":                       "\nForwarded: for=1.2.3.4\nVia: 1.1 evil\nX-Real-Ip: 1.2.3.4\nX_Real_IP: 1.2.3.4\nX-Original-Url: /api/v1/secrets\nX-Original-Method: DELETE",
	"Cookie":                                  "\nCookie: a=b\nCookie2: c\ncookie: d=e",
	"Proxy":                                   "\nProxy-Authorization: Basic cm9vdDpyb290\nProxy-Connection: keep-alive\nProxy_Authorization: x",
	"Audit-Id":                                "\nAudit-Id: mine\nAudit_Id: mine",
	"another method":                          "\nX-HTTP-Method-Override: DELETE\nX-HTTP-Method: DELETE\nX-Method-Override: DELETE\nX_HTTP_Method_Override: DELETE",
	"Authorization with an underscore":        "\nAuthorization_: Bearer x\nX-Authorization: Bearer x",
	"a token among subprotocols":              "\nSec_WebSocket_Protocol: v5.channel.k8s.io, " + webSocketBearer(bobToken),
	"hop by hop":                              "\nKeep-Alive: timeout=5\nTE: trailers, deflate\nTrailer: Impersonate-User\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
}

// TestSharedHeadersAreRebuilt sends each of the neutral lines on a plain
// request and on upgrades of either protocol.
func TestSharedHeadersAreRebuilt(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("GET "+podExec, fakeapi.Upgrade(""))
	for name, header := range neutral {
		mark := "\n" + markHeader + ": " + strings.ReplaceAll(name, " ", "-")
		got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)+mark+header)
		if got.Code != 200 {
			t.Errorf("%s: answer %d %s", name, got.Code, got.Body)
		}
		for _, offer := range []string{websocket, spdy} {
			w := r.connect("proxy")
			w.send(lines("GET " + podExec + " HTTP/1.1\nHost: localhost" + bearer(aliceToken) + mark + header + offer))
			if got := w.receive("GET"); got.Code != 101 {
				t.Errorf("%s, upgrade: answer %d %s", name, got.Code, got.Body)
			}
			w.conn.Close()
		}
		arrived := r.arrived(strings.ReplaceAll(name, " ", "-"))
		if len(arrived) != 3 {
			t.Errorf("%s: %d requests arrived, want 3", name, len(arrived))
		}
		for _, q := range arrived {
			checkArrived(t, q, asAlice())
		}
	}
}

// TestSharedIdentityCannotBeAskedFor sends what asks for another identity, or
// presents a second one, and must not arrive.
func TestSharedIdentityCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for name, c := range map[string]struct {
		header string
		code   int
		reason metav1.StatusReason
	}{
		"a group alone":               {bearer(bobToken) + "\nImpersonate-Group: system:masters", 403, "Forbidden"},
		"another user":                {bearer(bobToken) + "\nImpersonate-User: alice", 403, "Forbidden"},
		"another user in lower case":  {bearer(bobToken) + "\nimpersonate-user: alice", 403, "Forbidden"},
		"itself with a further group": {bearer(bobToken) + "\nImpersonate-User: bob\nImpersonate-Group: ops\nImpersonate-Group: dev", 403, "Forbidden"},
		"two users":                   {bearer(bobToken) + "\nImpersonate-User: bob\nImpersonate-User: alice", 403, "Forbidden"},
		"two users in two cases":      {bearer(bobToken) + "\nImpersonate-User: bob\nIMPERSONATE-USER: alice", 403, "Forbidden"},
		"an empty user":               {bearer(bobToken) + "\nImpersonate-User:", 403, "Forbidden"},
		"a list of users":             {bearer(bobToken) + "\nImpersonate-User: bob,alice", 403, "Forbidden"},
		"a UID":                       {bearer(bobToken) + "\nImpersonate-User: bob\nImpersonate-Uid: 0", 403, "Forbidden"},
		"a UID alone":                 {bearer(bobToken) + "\nImpersonate-Uid: 0", 403, "Forbidden"},
		"an extra":                    {bearer(bobToken) + "\nImpersonate-User: bob\nImpersonate-Extra-Scopes: x", 403, "Forbidden"},
		"an extra alone":              {bearer(bobToken) + "\nImpersonate-Extra-Scopes: x", 403, "Forbidden"},
		"an extra with an underscore": {bearer(bobToken) + "\nImpersonate-Extra_scopes: x", 403, "Forbidden"},
		"one that does not exist yet": {bearer(bobToken) + "\nImpersonate-Later: x", 403, "Forbidden"},
		"two tokens":                  {bearer(bobToken) + bearer(aliceToken), 401, "Unauthorized"},
		"the same token twice":        {bearer(bobToken) + bearer(bobToken), 401, "Unauthorized"},
		"two tokens in two cases":     {bearer(bobToken) + "\nAUTHORIZATION: Bearer " + aliceToken, 401, "Unauthorized"},
		"two tokens on one line":      {bearer(bobToken) + ", Bearer " + aliceToken, 401, "Unauthorized"},
		"no token":                    {"\nAccept: */*", 401, "Unauthorized"},
		"an empty token":              {"\nAuthorization: Bearer ", 401, "Unauthorized"},
		"an empty Authorization":      {"\nAuthorization:", 401, "Unauthorized"},
		"a token and a space":         {bearer(bobToken + " x"), 401, "Unauthorized"},
		"the token as a password":     {"\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("bob:"+bobToken)), 401, "Unauthorized"},
		"the token's hash":            {bearer(tokenMatch(bobToken).TokenSHA256), 401, "Unauthorized"},
		"the token in upper case":     {bearer(strings.ToUpper(bobToken)), 401, "Unauthorized"},
		"the broker's token":          {bearer(brokerToken), 401, "Unauthorized"},
		"the kubeconfig's token":      {bearer(testToken), 401, "Unauthorized"},
		"a name in X-Remote-User":     {"\nX-Remote-User: alice", 401, "Unauthorized"},
		"a token in a cookie":         {"\nCookie: token=" + bobToken, 401, "Unauthorized"},
		"a token for a proxy":         {"\nProxy-Authorization: Bearer " + bobToken, 401, "Unauthorized"},
		"a token with an underscore":  {"\nAuthorization_: Bearer " + bobToken, 401, "Unauthorized"},
		"a subprotocol without offer": {"\nSec-WebSocket-Protocol: x, " + webSocketBearer(bobToken), 401, "Unauthorized"},
	} {
		mark := strings.ReplaceAll(name, " ", "-")
		for _, offer := range []string{"", spdy} {
			got := r.ask(t, "GET "+pods+"/p/log HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark+c.header+offer)
			if got.Code != c.code {
				t.Errorf("%s%s: answer %d %s, want %d", name, offer, got.Code, got.Body, c.code)
				continue
			}
			wantStatus(t, got, c.code, c.reason)
			if got.Header.Get("Www-Authenticate") != "" {
				t.Errorf("%s: a challenge %q", name, got.Header)
			}
		}
		if arrived := r.arrived(mark); len(arrived) > 0 {
			t.Errorf("%s: arrived: %+v", name, arrived)
		}
	}
}

// TestSharedIdentityWithFewerGroups lets a client be itself with less.
func TestSharedIdentityWithFewerGroups(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for mark, c := range map[string]struct {
		header string
		groups []string
	}{
		"as-it-is":  {"", []string{"dev", "qa"}},
		"one-group": {"\nImpersonate-User: alice\nImpersonate-Group: qa", []string{"qa"}},
		"no-group":  {"\nImpersonate-User: alice", nil},
	} {
		if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark+bearer(aliceToken)+c.header); got.Code != 200 {
			t.Errorf("%s: answer %d %s", mark, got.Code, got.Body)
			continue
		}
		want := asAlice()
		if want["Impersonate-Group"] = c.groups; c.groups == nil {
			delete(want, "Impersonate-Group")
		}
		for _, q := range r.arrived(mark) {
			checkArrived(t, q, want)
		}
	}
}

// TestSharedTokenAmongSubprotocols identifies by the token of a websocket's
// subprotocol, and passes on the other one alone.
func TestSharedTokenAmongSubprotocols(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("GET "+podExec, fakeapi.Upgrade(""))
	for mark, c := range map[string]struct {
		header, want string
		code         int
	}{
		"first":      {"\nSec-WebSocket-Protocol: " + webSocketBearer(aliceToken) + ", v5.channel.k8s.io", "v5.channel.k8s.io", 101},
		"last":       {"\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io, " + webSocketBearer(aliceToken), "v5.channel.k8s.io, v4.channel.k8s.io", 101},
		"two-lines":  {"\nSec-WebSocket-Protocol: v5.channel.k8s.io\nSec-WebSocket-Protocol: " + webSocketBearer(aliceToken), "v5.channel.k8s.io", 101},
		"both":       {bearer(aliceToken) + "\nSec-WebSocket-Protocol: v5.channel.k8s.io, " + webSocketBearer(aliceToken), "v5.channel.k8s.io", 101},
		"two-people": {bearer(bobToken) + "\nSec-WebSocket-Protocol: v5.channel.k8s.io, " + webSocketBearer(aliceToken), "", 401},
		"two-tokens": {"\nSec-WebSocket-Protocol: v5.channel.k8s.io, " + webSocketBearer(aliceToken) + ", " + webSocketBearer(aliceToken), "", 401},
		"alone":      {"\nSec-WebSocket-Protocol: " + webSocketBearer(aliceToken), "", 401},
		"padded":     {"\nSec-WebSocket-Protocol: v5.channel.k8s.io, " + webSocketBearer(aliceToken) + "=", "", 401},
	} {
		w := r.connect("proxy")
		w.send(lines("GET " + podExec + " HTTP/1.1\nHost: localhost\n" + markHeader + ": " + mark + c.header + websocket))
		if got := w.receive("GET"); got.Code != c.code {
			t.Errorf("%s: answer %d %s, want %d", mark, got.Code, got.Body, c.code)
		}
		w.conn.Close()
		arrived := r.arrived(mark)
		if want := map[int]int{101: 1, 401: 0}[c.code]; len(arrived) != want {
			t.Errorf("%s: %d requests arrived, want %d", mark, len(arrived), want)
		}
		for _, q := range arrived {
			checkArrived(t, q, asAlice())
			if got := strings.Join(q.Header["Sec-Websocket-Protocol"], ", "); got != c.want {
				t.Errorf("%s: the subprotocols %q arrived, want %q", mark, got, c.want)
			}
		}
	}
}

// TestSharedTrailersEnd sends trailers that name the identity after a body:
// nothing of them arrives.
func TestSharedTrailersEnd(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for mark, announced := range map[string]string{"announced": "\nTrailer: Impersonate-User, Authorization, X-Remote-User, X-Fine", "sudden": ""} {
		w := r.connect("proxy")
		w.send(lines("POST "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": "+mark+bearer(aliceToken)+"\nTransfer-Encoding: chunked"+announced) +
			"4\r\nbody\r\n0\r\nImpersonate-User: root\r\nAuthorization: Bearer x\r\nX-Remote-User: root\r\nX-Fine: x\r\n\r\n")
		if got := w.receive("POST"); got.Code != 200 && got.Code != 400 {
			t.Errorf("%s: answer %d %s", mark, got.Code, got.Body)
		}
		for _, q := range r.arrived(mark) {
			checkArrived(t, q, asAlice())
			if q.BodyHash != fakeapi.HashOf([]byte("body")) || !q.BodyRead {
				t.Errorf("%s: another body arrived, of %d bytes", mark, q.BodyBytes)
			}
		}
	}
}

// TestSharedFoldedHeaders are read as one value, the same here and there, or
// not at all.
func TestSharedFoldedHeaders(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	for mark, header := range map[string]string{
		"token":  "\nAuthorization: Bearer\n " + bobToken,
		"hidden": bearer(bobToken) + "\nX-Fine: a\n Impersonate-User: root",
		"space":  bearer(bobToken) + "\nImpersonate-User : root",
		"before": bearer(bobToken) + "\n Impersonate-User: root",
		"bare":   bearer(bobToken) + "\nX-Fine: a\rImpersonate-User: root",
		"nul":    bearer(bobToken) + "\nX-Fine: a\x00Impersonate-User: root",
	} {
		w := r.connect("proxy")
		w.send(lines("GET " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": " + mark + header))
		if got := w.receive("GET"); got.Code != 200 && got.Code != 400 && got.Code != 401 {
			t.Errorf("%s: answer %d %s", mark, got.Code, got.Body)
		}
		for _, q := range r.arrived(mark) {
			checkArrived(t, q, asBob())
			for name := range q.Header {
				if http.CanonicalHeaderKey(strings.TrimSpace(name)) == "Impersonate-User" && q.Header.Get(name) != "bob" {
					t.Errorf("%s: %q arrived", mark, q.Header)
				}
			}
		}
	}
}

// TestSharedIdentityOfOneselfKeepsItsExtras: a client that asks to be itself
// keeps the uid and the extras of its grant, such as OpenShift's scopes, which
// restrict it.
func TestSharedIdentityOfOneselfKeepsItsExtras(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		as := &clientOf(cfg, "alice").Grants[0].Impersonate
		as.UID, as.Extra = "7", map[string][]string{"scopes.authorization.openshift.io": {"user:info"}}
	})
	r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": x\nImpersonate-User: alice\nImpersonate-Group: dev\nImpersonate-Group: qa"+bearer(aliceToken))
	for _, q := range r.arrived("x") {
		if q.Header.Get("Impersonate-Uid") != "7" || q.Header.Get("Impersonate-Extra-Scopes.authorization.openshift.io") != "user:info" {
			t.Errorf("arrived as %v: without the restriction of the grant", identityOf(q.Header))
		}
	}
}

// TestSharedIdentityOfOneselfGetsNoGroupsOfOthers: the groups in
// allowImpersonation are for the users in it, and not for the client itself.
func TestSharedIdentityOfOneselfGetsNoGroupsOfOthers(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		clientOf(cfg, "bob").AllowImpersonation = auth.AllowedImpersonation{Users: []string{"break-glass"}, Groups: []string{"system:masters"}}
	})
	got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": x\nImpersonate-User: bob\nImpersonate-Group: system:masters"+bearer(bobToken))
	for _, q := range r.arrived("x") {
		t.Errorf("answer %d, arrived as %v", got.Code, identityOf(q.Header))
	}
}
