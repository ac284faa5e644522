package daemon_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestSharedEveryRequestIsOnRecord wants one event of each request's end, of
// those that were refused too, with the Audit-ID that the answer and the API
// server have.
func TestSharedEveryRequestIsOnRecord(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		with(cfg, "dave", r.plugin("failing", "exit 3", 0))
		clientOf(cfg, "carol").Limits.RequestsPerSecond, clientOf(cfg, "carol").Limits.Burst = 0.001, 1
	})
	r.Servers[0].Handle("GET "+pods+"/missing", fakeapi.Status(404, "NotFound", "no", 0))
	r.Servers[0].Handle("GET "+pods+"/refused", fakeapi.Unauthorized())
	r.Servers[0].Handle("GET "+pods+"/lost", fakeapi.RST())
	r.Servers[0].Handle("GET "+pods+"/astray", fakeapi.Respond(302, "", "Location", "https://evil.example/"))
	r.Servers[0].Handle("GET "+pods+"/broken", fakeapi.RSTMidBody(1000, 10))
	if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(carolToken)); got.Code != 200 {
		t.Fatalf("answer %d", got.Code)
	}
	for name, c := range map[string]struct {
		request, user string
		code          int
	}{
		"read":               {"GET " + pods + " HTTP/1.1\nHost: localhost" + bearer(aliceToken), "alice", 200},
		"list of bob":        {"GET " + pods + "?limit=1 HTTP/1.1\nHost: localhost" + bearer(bobToken), "bob", 200},
		"write":              {"POST " + pods + " HTTP/1.1\nHost: localhost\nContent-Length: 0" + bearer(aliceToken), "alice", 200},
		"not found":          {"GET " + pods + "/missing HTTP/1.1\nHost: localhost" + bearer(aliceToken), "alice", 404},
		"credential refused": {"GET " + pods + "/refused HTTP/1.1\nHost: localhost" + bearer(aliceToken), "alice", 502},
		"no credential":      {"GET " + pods + " HTTP/1.1\nHost: localhost" + bearer(daveToken), "dave", 503},
		"lost":               {"GET " + pods + "/lost HTTP/1.1\nHost: localhost" + bearer(aliceToken), "alice", 502},
		"astray":             {"GET " + pods + "/astray HTTP/1.1\nHost: localhost" + bearer(aliceToken), "alice", 502},
		"over the limit":     {"GET " + pods + " HTTP/1.1\nHost: localhost" + bearer(carolToken), "carol", 429},
		"not allowed":        {"DELETE " + pods + " HTTP/1.1\nHost: localhost" + bearer(bobToken), "bob", 403},
		"exec not allowed":   {"GET " + podExec + " HTTP/1.1\nHost: localhost" + bearer(bobToken) + websocket, "bob", 403},
		"no grant":           {"GET /clusters/other" + pods + " HTTP/1.1\nHost: localhost" + bearer(bobToken), "bob", 403},
		"impersonation":      {"GET " + pods + " HTTP/1.1\nHost: localhost\nImpersonate-User: root" + bearer(bobToken), "bob", 403},
		"no token":           {"GET " + pods + " HTTP/1.1\nHost: localhost", "", 401},
		"wrong token":        {"GET " + pods + " HTTP/1.1\nHost: localhost" + bearer("wrong"), "", 401},
		"two tokens":         {"GET " + pods + " HTTP/1.1\nHost: localhost" + bearer(bobToken) + bearer(aliceToken), "", 401},
		"a bad path":         {"GET " + pods + "/../secrets HTTP/1.1\nHost: localhost" + bearer(bobToken), "", 400},
		"a token in query":   {"GET " + pods + "?access_token=x HTTP/1.1\nHost: localhost" + bearer(bobToken), "", 400},
		"host":               {"GET " + pods + " HTTP/1.1\nHost: evil.example" + bearer(bobToken), "", 421},
		"origin":             {"GET " + pods + " HTTP/1.1\nHost: localhost\nOrigin: x" + bearer(bobToken), "", 403},
		"TRACE":              {"TRACE " + pods + " HTTP/1.1\nHost: localhost" + bearer(bobToken), "", 405},
		"CONNECT":            {"CONNECT localhost:1 HTTP/1.1\nHost: localhost:1" + bearer(bobToken), "", 405},
		"no mint here":       {"POST /kuberelay/v1/credential HTTP/1.1\nHost: localhost\nContent-Length: 0" + bearer(aliceToken), "", 404},
		"upgrade with body":  {"POST " + podExec + " HTTP/1.1\nHost: localhost\nContent-Length: 1" + bearer(aliceToken) + websocket, "alice", 400},
	} {
		got := r.ask(t, c.request)
		if got.Code != c.code {
			t.Errorf("%s: answer %d %s, want %d", name, got.Code, got.Body, c.code)
		}
		complete := func(e event) bool { return e.Stage == "ResponseComplete" && strings.Contains(c.request, e.RequestURI) }
		id := got.Header.Get("Audit-Id")
		if id == "" { // an answer of the API server, which is a fake
			id = r.awaitEvent("ResponseComplete", func(e event) bool { return complete(e) && e.User.Username == c.user && e.ResponseStatus.Code == c.code }).AuditID
		}
		ends := func() []event {
			return slices.DeleteFunc(r.events(id), func(e event) bool { return e.Stage != "ResponseComplete" })
		}
		r.await("an event of "+name, func() bool { return len(ends()) > 0 })
		all := ends()
		if len(all) != 1 {
			t.Fatalf("%s: %d events of its end: %+v", name, len(all), all)
		}
		e := all[0]
		if e.User.Username != c.user || e.ResponseStatus == nil || e.ResponseStatus.Code != c.code || e.Annotations["kuberelay/listener"] != "proxy" {
			t.Errorf("%s: event %+v", name, e)
		}
		decision := e.Annotations["authorization.k8s.io/decision"]
		passed := c.code == 200 || c.code > 500 || name == "not found" || name == "upgrade with body"
		if want := map[bool]string{true: "allow", false: "forbid"}[passed]; decision != want || e.Annotations["authorization.k8s.io/reason"] == "" {
			t.Errorf("%s: decision %q because %q, want %s", name, decision, e.Annotations["authorization.k8s.io/reason"], want)
		}
		for _, q := range r.Servers[0].Requests() {
			if q.Header.Get("Audit-Id") == id && !passed {
				t.Errorf("%s: arrived: %+v", name, q)
			}
		}
	}
}

// TestSharedChangesAreOnRecordBefore: when what may change something reaches
// the API server, its event is written already; and a stream's beginning has
// an event, whoever is its client.
func TestSharedChangesAreOnRecordBefore(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	var missing, looked atomic.Int64
	look := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			looked.Add(1)
			id := q.Header.Get("Audit-Id")
			if !slices.ContainsFunc(r.events(id), func(e event) bool { return e.Stage == "RequestReceived" && e.User.Username == "alice" }) {
				missing.Add(1)
			}
			next.ServeHTTP(w, q)
		})
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		r.all(method+" "+pods+"/p", look(fakeapi.Text(200, "fine")))
		if got := r.ask(t, method+" "+pods+"/p HTTP/1.1\nHost: localhost\nContent-Length: 0"+bearer(aliceToken)); got.Code != 200 {
			t.Errorf("%s: answer %d", method, got.Code)
		}
	}
	r.all("GET "+pods+"/p/proxy/x", look(fakeapi.Text(200, "fine"))) // which may do anything
	if got := r.ask(t, "GET "+pods+"/p/proxy/x HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 200 {
		t.Errorf("answer %d", got.Code)
	}
	r.all("GET "+podExec, look(fakeapi.Upgrade(greeting)))
	r.Servers[0].Watch(pods, nil)
	open := r.open(aliceToken)
	for _, verb := range []string{"watch", "get"} {
		e := r.awaitEvent("ResponseStarted", func(e event) bool { return e.User.Username == "alice" && e.Verb == verb })
		if e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != "alice" || !slices.Equal(e.ImpersonatedUser.Groups, []string{"dev", "qa"}) {
			t.Errorf("event %+v", e)
		}
	}
	open.tunnel.conn.Close()
	e := r.awaitEvent("ResponseComplete", func(e event) bool { return e.Annotations["kuberelay/upgrade-protocol"] != "" })
	if e.Annotations["kuberelay/close-reason"] != "client" {
		t.Errorf("event %+v", e)
	}
	if looked.Load() != 6 || missing.Load() != 0 {
		t.Errorf("of %d requests %d were not on record when they arrived", looked.Load(), missing.Load())
	}
}

// TestSharedWithoutARecordNothingChanges: while events cannot be written,
// reading goes on, and nothing else does.
func TestSharedWithoutARecordNothingChanges(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1)
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	if err := r.Daemon.BreakAudit(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		request string
		code    int
	}{
		"read":   {"GET " + pods + " HTTP/1.1\nHost: localhost", 200},
		"watch":  {"GET " + pods + "?watch=1 HTTP/1.1\nHost: localhost", 200},
		"create": {"POST " + pods + " HTTP/1.1\nHost: localhost\nContent-Length: 0", 503},
		"delete": {"DELETE " + pods + "/p HTTP/1.1\nHost: localhost", 503},
		"proxy":  {"GET " + pods + "/p/proxy/ HTTP/1.1\nHost: localhost", 503},
		"exec":   {"GET " + podExec + " HTTP/1.1\nHost: localhost" + websocket, 503},
		"get":    {"GET " + podExec + " HTTP/1.1\nHost: localhost", 503},
	} {
		got := r.ask(t, c.request+"\n"+markHeader+": "+name+bearer(aliceToken))
		if got.Code != c.code {
			t.Errorf("%s: answer %d %s, want %d", name, got.Code, got.Body, c.code)
		}
		if n := len(r.arrived(name)); n != map[int]int{200: 1}[c.code] {
			t.Errorf("%s: %d requests arrived", name, n)
		}
		if c.code == 503 {
			if status := wantStatus(t, got, 503, "ServiceUnavailable"); status.Details.Causes[0].Type != "Audit" {
				t.Errorf("%s: answer %s", name, got.Body)
			}
		}
	}
	w := r.connect("sock")
	w.send(lines("POST /kuberelay/v1/credential HTTP/1.1\nHost: x\nContent-Length: 0"))
	if got := w.receive("POST"); got.Code != 503 || strings.Contains(got.Body, "token\":") {
		t.Errorf("a token was made off the record: %d %s", got.Code, got.Body)
	}
}

// TestSharedImpersonationOfAKubeconfigIsOnRecord has a grant say nothing of as
// whom the cluster is called, and the credential's kubeconfig say it.
func TestSharedImpersonationOfAKubeconfigIsOnRecord(t *testing.T) {
	t.Parallel()
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		path := r.file("as.kubeconfig", `{"apiVersion": "v1", "kind": "Config", "current-context": "c",
			"clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
			"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
			"users": [{"name": "u", "user": {"token": "`+brokerToken+`", "as": "robot", "as-groups": ["machines"]}}]}`)
		with(cfg, "carol", auth.CredentialConfig{Name: "as", Kubeconfig: &auth.KubeconfigRef{Path: path}})
	})
	got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": as"+bearer(carolToken))
	if arrived := r.arrived("as"); got.Code != 200 || len(arrived) != 1 || arrived[0].Header.Get("Impersonate-User") != "robot" {
		t.Fatalf("answer %d %s, arrived %+v", got.Code, got.Body, arrived)
	}
	e := r.awaitEvent("ResponseComplete", func(e event) bool { return e.User.Username == "carol" })
	if e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != "robot" || !slices.Equal(e.ImpersonatedUser.Groups, []string{"machines"}) {
		t.Errorf("event %+v", e)
	}
}
