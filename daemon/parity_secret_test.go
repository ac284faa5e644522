package daemon_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestParityNoSecretIsShown sends secrets of every kind through everything
// that can go wrong, with the log at debug level and every request logged, and
// looks for them in all that kuberelay says. kubectl proxy's -v=9 prints the
// client's Authorization of an upgrade.
func TestParityNoSecretIsShown(t *testing.T) {
	t.Parallel()
	const (
		bearer    = "canary-client-bearer"
		basic     = "canary-client-basic"
		cookie    = "canary-cookie"
		query     = "canary-query"
		protocol  = "canary-subprotocol"
		body      = "canary-body"
		proxyAuth = "canary-proxy-authorization"
		extra     = "canary-impersonated-scope"
	)
	encoded := base64.RawURLEncoding.EncodeToString([]byte(protocol))
	secrets := []string{testToken, bearer, basic, cookie, query, protocol, encoded, body, proxyAuth, extra,
		base64.StdEncoding.EncodeToString([]byte("me:" + basic)), base64.StdEncoding.EncodeToString([]byte(testToken))}

	r := parity(t, func(cfg *config.Configuration) {
		cfg.Log.AccessLog = true
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = 10 * time.Millisecond
	}, editRest(func(c *rest.Config) {
		c.Impersonate = rest.ImpersonationConfig{UserName: "alice", Extra: map[string][]string{"scopes": {extra}}}
	}))
	var said strings.Builder
	sender := "Authorization: Bearer " + bearer
	ask := func(path, headers string) {
		for _, authorization := range []string{sender, "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+basic)), "X-A: b"} {
			for _, method := range []string{"GET", "PUT"} {
				text := method + " " + path + " HTTP/1.1\nHost: localhost\nCookie: a=" + cookie + "\nProxy-Authorization: Basic " + proxyAuth + "\n" + authorization + headers
				w := r.dial(t)
				if method == "PUT" {
					w.send(lines(fmt.Sprintf("%s\nContent-Length: %d", text, len(body))) + body)
				} else {
					w.send(lines(text))
				}
				if got := w.receive(method); got.Code != 101 { // the fake server repeats the subprotocol
					said.WriteString(got.Raw)
				}
				w.conn.Close()
			}
		}
	}
	offer := websocket + "\nSec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io." + encoded
	faults := map[string]http.Handler{
		"/api/v1/fine": fakeapi.Text(200, "fine"), "/api/v1/rst": fakeapi.RST(), "/api/v1/hangup": fakeapi.Hangup(),
		"/api/v1/malformed": verbatim("HTTP/1.1 200 OK\r\nSet-Cookie\r\n\r\n"), "/api/v1/cut": fakeapi.Text(503, "x"),
		"/api/v1/unauthorized": fakeapi.Unauthorized(), "/api/v1/down": fakeapi.ShuttingDown503(),
		portForward: fakeapi.Upgrade(""), "/api/v1/namespaces/x/pods/refused/portforward": fakeapi.Text(200, "no"),
	}
	for path, fault := range faults {
		r.all(path, fault)
		for _, headers := range []string{"", offer} {
			ask(path+"?token="+query, headers)
			ask(path+"?watch=1&token="+query, headers)
		}
	}
	ask("/api/v1/namespaces/x/pods/p/exec?token="+query, offer)                   // the filter
	ask("/api//v1?token="+query, "")                                              // a redirect carries it, to the client that sent it
	ask("/api/v1/fine?token="+query, "\nOrigin: http://evil.example")             // the cross-site gate
	ask("/api/v1/fine?token="+query, "\nImpersonate-User: bob\nX-A: \x7f"+bearer) // what net/http refuses
	r.Servers[0].SetCertificate(fakeapi.WrongName)
	r.Servers[0].CutConnections()
	ask("/api/v1/fine?token="+query, "")
	ask(portForward+"?token="+query, offer)
	r.Servers[0].Down()
	ask("/api/v1/fine?token="+query, "")
	ask(portForward+"?token="+query, offer)

	admin := "http://" + r.Daemon.AdminAddr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	pages := 0
	for _, page := range []string{"/metrics", "/api/v1/status", "/healthz", "/readyz", "/"} {
		resp, err := client.Get(admin + page)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		pages += len(text)
		find(t, "admin "+page, string(text), secrets)
	}
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder})
	requests := 0
	for _, entry := range r.Logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		if entry.Message == "request" {
			requests++
		}
		find(t, "log", line.String(), secrets)
	}
	find(t, "status", string(mustJSON(t, r.Daemon.Status())), secrets)
	find(t, "daemon", fmt.Sprintf("%v %+v", r.Daemon.Ready(), r.Daemon.Status()), secrets)
	// Only a redirect says to the client what the client said.
	find(t, "answer", strings.ReplaceAll(said.String(), "/api/v1?token="+query, ""), secrets)
	if requests < 50 || pages < 1000 {
		t.Errorf("only %d log lines of requests and %d bytes of admin pages were looked at", requests, pages)
	}
}

func find(t testing.TB, where, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%s: %s is shown: …%.200s", where, secret, text[max(0, i-100):])
		}
	}
}
