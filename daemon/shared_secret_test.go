package daemon_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedNoSecretIsShown sends secrets of every kind through everything that
// can go wrong, with the log at its wordiest, and looks for them in all that
// kuberelay says: log, access log, audit log, metrics, status and answers.
func TestSharedNoSecretIsShown(t *testing.T) {
	t.Parallel()
	const (
		cookie    = "canary-cookie"
		query     = "canary-query"
		tail      = "canary-tail"
		password  = "canary-password"
		proxyAuth = "canary-proxy-authorization"
		unknown   = "canary-unknown-token"
		body      = "canary-body"
		switching = "HTTP/1.1 101 "
	)
	secrets := []string{
		testToken, brokerToken, otherToken, aliceToken, bobToken, carolToken, daveToken, pluginCanary, cookie, query, tail, password, proxyAuth, unknown, body,
		base64.StdEncoding.EncodeToString([]byte("bob:" + password)),
	}
	for _, token := range []string{aliceToken, bobToken, carolToken, unknown} {
		secrets = append(secrets, base64.RawURLEncoding.EncodeToString([]byte(token)), tokenMatch(token).TokenSHA256)
	}
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		with(cfg, "carol", r.plugin("failing", "echo "+pluginCanary+"; exit 3", 0))
		with(cfg, "dave", r.plugin("babbling", "echo '{\"token\":\""+pluginCanary+"\"}'", 0))
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = 10 * time.Millisecond
	})
	var said strings.Builder
	answers := 0
	ask := func(listener, target, headers string) {
		for _, method := range []string{"GET", "POST"} {
			text := method + " " + target + " HTTP/1.1\nHost: localhost\nConnection: close\nCookie: session=" + cookie + "\nProxy-Authorization: Basic " + proxyAuth + headers
			w := r.connect(listener)
			if method == "POST" {
				w.send(lines(fmt.Sprintf("%s\nContent-Length: %d", text, len(body))) + body)
			} else {
				w.send(lines(text))
			}
			if start, err := w.in.Peek(len(switching)); err == nil && string(start) == switching {
				w.conn.Close() // a tunnel, of which the fake has made the head
				continue
			}
			raw, err := io.ReadAll(w.in)
			if err != nil && len(raw) == 0 {
				continue // the answer was lost with the connection's reset
			}
			answers++
			said.Write(raw)
			w.conn.Close()
		}
	}
	senders := map[string]string{
		"alice": bearer(aliceToken), "bob": bearer(bobToken), "carol": bearer(carolToken), "dave": bearer(daveToken), "nobody": bearer(unknown),
		"two": bearer(aliceToken) + bearer(bobToken), "basic": "\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("bob:"+password)),
		"protocol": "\nSec-WebSocket-Protocol: v5.channel.k8s.io, " + webSocketBearer(aliceToken) + websocket,
		"alone":    "\nSec-WebSocket-Protocol: " + webSocketBearer(unknown) + websocket,
		"origin":   bearer(aliceToken) + "\nOrigin: https://evil.example",
		"as":       bearer(aliceToken) + "\nImpersonate-User: root",
	}
	faults := map[string]http.Handler{
		pods + "/fine": fakeapi.Text(200, "fine"), pods + "/rst": fakeapi.RST(), pods + "/hangup": fakeapi.Hangup(),
		pods + "/malformed": verbatim("HTTP/1.1 200 OK\r\nSet-Cookie\r\n\r\n"), pods + "/unavailable": fakeapi.Text(503, "x"),
		pods + "/unauthorized": fakeapi.Unauthorized(), pods + "/down": fakeapi.ShuttingDown503(), pods + "/astray": fakeapi.Respond(302, "", "Location", "//evil.example/"),
		podExec: fakeapi.Upgrade(""), pods + "/p/attach": fakeapi.Text(200, "no"), pods + "/p/proxy/login": fakeapi.Text(200, "fine"),
	}
	for path, fault := range faults {
		r.all("GET "+path, fault)
		r.all("POST "+path, fault)
		for _, sender := range senders {
			ask("proxy", path+"?token="+query+"&X-Amz-Signature="+query, sender)
		}
	}
	for _, sender := range senders {
		ask("proxy", pods+"/p/proxy/login?user="+tail+"&x="+tail, sender)
		ask("proxy", "/api/v1/nodes/n/proxy/run?cmd="+tail, sender)
		ask("proxy", pods+"/p/proxy/../x?user="+tail, sender)
		ask("proxy", "http://bob:"+password+"@localhost"+pods+"?access_token="+query, sender)
		ask("proxy", "http://bob:"+password+"@evil.example"+pods+"?token="+query, sender)
		ask("proxy", pods+"/../x?token="+query, sender)
		ask("proxy", pods+"?watch=1&limit=x&token="+query, sender)
		ask("tls", pods+"?token="+query, sender)
		ask("sock", pods+"?token="+query, sender)
		ask("sock", "/kuberelay/v1/credential?token="+query, sender)
	}
	r.Servers[0].SetCertificate(fakeapi.WrongName)
	r.Servers[0].CutConnections()
	for _, sender := range senders {
		ask("proxy", pods+"/fine?token="+query, sender)
		ask("proxy", podExec+"?token="+query, sender)
	}
	r.Servers[0].Down()
	ask("proxy", pods+"/fine?token="+query, senders["alice"])
	r.file("broker", "")
	if _, err := r.Daemon.Revoke("alice", time.Time{}, "why"); err != nil {
		t.Error(err)
	}
	ask("proxy", pods+"/fine?token="+query, senders["alice"])
	r.mu.Lock()
	r.next = func() (*config.Configuration, error) { return nil, fmt.Errorf("line 3: no") }
	r.mu.Unlock()
	if _, err := r.Daemon.Reload(t.Context()); err == nil {
		t.Error("a bad reload passed")
	}
	r.wantNowhere(secrets, said.String())
	if answers < 400 {
		t.Errorf("only %d answers were looked at", answers)
	}
}

// wantNowhere looks for secrets in all that the daemon has said.
func (r *team) wantNowhere(secrets []string, answers string) {
	r.t.Helper()
	find(r.t, "answer", answers, secrets)
	admin := "http://" + r.Daemon.AdminAddr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, page := range []string{"/metrics", "/api/v1/status", "/healthz", "/readyz", "/"} {
		resp, err := client.Get(admin + page)
		if err != nil {
			r.t.Fatal(err)
		}
		find(r.t, "admin "+page, readAll(r.t, resp), secrets)
	}
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg", LevelKey: "level", NameKey: "logger", EncodeLevel: zapcore.LowercaseLevelEncoder, EncodeDuration: zapcore.StringDurationEncoder})
	logged := map[string]int{}
	for _, entry := range r.Logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			r.t.Fatal(err)
		}
		logged[entry.Message]++
		find(r.t, "log", line.String(), secrets)
	}
	events, err := os.ReadFile(r.path("audit"))
	if err != nil {
		r.t.Fatal(err)
	}
	find(r.t, "audit log", string(events), secrets)
	find(r.t, "status", string(mustJSON(r.t, r.Daemon.Status())), secrets)
	find(r.t, "daemon", fmt.Sprintf("%v %+v", r.Daemon.Ready(), r.Daemon.Status()), secrets)
	if logged["request"] < 50 || logged["request refused"] < 50 || strings.Count(string(events), "\n") < 300 {
		r.t.Errorf("too little was looked at: %v, and %d events", logged, strings.Count(string(events), "\n"))
	}
}
