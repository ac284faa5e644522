package daemon_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// TestAnotherClientAuthorityCutsWhatTheOldOneLetIn: a reload that names another clientCAFile leaves open what the old
// authority's certificates opened.
func TestAnotherClientAuthorityCutsWhatTheOldOneLetIn(t *testing.T) {
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, nil)
	w := r.connect("tls", r.certificate("alice"))
	w.send(lines("GET " + pods + "?watch=1 HTTP/1.1\nHost: localhost"))
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	r.file("other-clients.crt", string(fakeapi.NewCA(t).PEM))
	r.reload(func(cfg *config.Configuration) { cfg.Listeners[1].TLS.ClientCAFile = r.path("other-clients.crt") })
	_ = w.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the watch goes on under an authority that is not in use: %v", err)
	}
}

// TestShortenedExpiryCuts: a reload that gives a token an end does not end what it opened then.
func TestShortenedExpiryCuts(t *testing.T) {
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, nil)
	w := r.watch(aliceToken)
	until := time.Now().Add(1500 * time.Millisecond)
	r.reload(func(cfg *config.Configuration) { clientOf(cfg, "alice").Match[0].Expires = until })
	select {
	case <-w.ended:
	case <-time.After(4 * time.Second):
		t.Errorf("the watch is open %v after its token has expired", time.Since(until))
	}
}

// TestProlongedExpiryDoesNotCut: and one that prolongs it still cuts at the old end.
func TestProlongedExpiryDoesNotCut(t *testing.T) {
	until := time.Now().Add(2 * time.Second)
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) { clientOf(cfg, "alice").Match[0].Expires = until })
	r.Servers[0].Watch(pods, nil)
	w := r.watch(aliceToken)
	r.reload(func(cfg *config.Configuration) { clientOf(cfg, "alice").Match[0].Expires = until.Add(time.Hour) })
	select {
	case err := <-w.ended:
		t.Errorf("cut at the end that the token had before: %v", err)
	case <-time.After(time.Until(until) + time.Second):
	}
}

// TestWhoAsksForItselfKeepsItsExtras: a client sheds the uid and extras (OpenShift's scopes restrict!) of its
// grant by asking to be itself.
func TestWhoAsksForItselfKeepsItsExtras(t *testing.T) {
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

// TestGroupsForOthersAreNotForOneself: itself together with a group that allowImpersonation names for others.
func TestGroupsForOthersAreNotForOneself(t *testing.T) {
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		clientOf(cfg, "bob").AllowImpersonation = auth.AllowedImpersonation{Users: []string{"break-glass"}, Groups: []string{"system:masters"}}
	})
	got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": x\nImpersonate-User: bob\nImpersonate-Group: system:masters"+bearer(bobToken))
	for _, q := range r.arrived("x") {
		t.Errorf("answer %d, arrived as %v", got.Code, identityOf(q.Header))
	}
}

// TestInheritedSocketNeedsTLS: an inherited socket that other machines reach, without TLS.
func TestInheritedSocketNeedsTLS(t *testing.T) {
	socket, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cfg := configuration(servers(t, 1))
	cfg.Listeners[0].Mode, cfg.Listeners[0].Filter = config.Shared, filter.Config{}
	cfg.Listeners[0].Identify = []identify.Method{identify.Bearer, identify.UID}
	cfg.Listeners[0].Address = "systemd:x"
	d, err := daemon.New(cfg, daemon.Options{Inherited: listen.Inherited{"x": {socket}}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	if err := d.Start(t.Context()); err == nil {
		t.Error("a shared listener on 0.0.0.0 without TLS was started: tokens go over the network in clear text")
	}
}

// TestListenerThatBecomesSharedEndsTheAnonymous: a reload that makes a single listener a shared one leaves open what
// nobody was identified for.
func TestListenerThatBecomesSharedEndsTheAnonymous(t *testing.T) {
	single := true
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		if single {
			l := config.DefaultListener("proxy", "127.0.0.1:0", "test")
			l.Filter.RejectPaths = nil
			cfg.Listeners[0] = l
		}
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	w := r.connect("proxy")
	w.send(lines("GET " + podExec + " HTTP/1.1\nHost: localhost" + websocket))
	if got := w.receive("GET"); got.Code != 101 {
		t.Fatal(got.Code, got.Body)
	}
	w.expect(greeting)
	single = false
	r.reload(func(*config.Configuration) {})
	_ = w.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.Copy(io.Discard, w.in); err != nil {
		t.Errorf("the anonymous exec goes on: %v", err)
	}
}

// TestListenerThatIsRemovedEndsItsTunnels: nor does a reload that removes a single listener end its tunnels.
func TestListenerThatIsRemovedEndsItsTunnels(t *testing.T) {
	single := true
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Grace = 500 * time.Millisecond
		if single {
			l := config.DefaultListener("single", "127.0.0.1:0", "test")
			l.Filter.RejectPaths = nil
			cfg.Listeners = append(cfg.Listeners, l)
		}
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	w := r.connect("single")
	w.send(lines("GET " + podExec + " HTTP/1.1\nHost: localhost" + websocket))
	if got := w.receive("GET"); got.Code != 101 {
		t.Fatal(got.Code, got.Body)
	}
	w.expect(greeting)
	single = false
	r.mu.Lock()
	r.next = func() (*config.Configuration, error) {
		cfg := r.base()
		cfg.Listeners[0].Address = "127.0.0.1:0"
		return cfg, nil
	}
	r.mu.Unlock()
	if _, err := r.Daemon.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.Copy(io.Discard, w.in); err != nil {
		t.Errorf("the exec through a listener that is gone goes on after the grace time: %v", err)
	}
}

// TestRedirectsStayInTheirCluster: what another cluster redirects to is looked for at the root's.
func TestRedirectsStayInTheirCluster(t *testing.T) {
	r := startTeam(t, 1)
	proxy := "/api/v1/namespaces/team-a/services/s/proxy"
	r.Other.Handle("GET "+proxy, fakeapi.Respond(301, "", "Location", proxy+"/"))
	r.Other.Handle("POST "+pods, fakeapi.Respond(307, "", "Location", r.Other.URL+secrets))
	for _, request := range []string{"GET /clusters/other" + proxy, "POST /clusters/other" + pods} {
		got := r.ask(t, request+" HTTP/1.1\nHost: localhost\nContent-Length: 0"+bearer(aliceToken))
		if location := got.Header.Get("Location"); got.Code < 400 && !strings.HasPrefix(location, "/clusters/other/") {
			t.Errorf("%s: %d to %s, which is at the cluster of the root", request, got.Code, location)
		}
	}
}

// TestLegacyProxyIsNoCreate: who may create pods reaches into them by the legacy proxy path.
func TestLegacyProxyIsNoCreate(t *testing.T) {
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Policies[1].Rules = append(cfg.Policies[1].Rules, policy.Rule{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods"}, Namespaces: []string{"team-a"}})
	})
	for _, path := range []string{"/api/v1/proxy/namespaces/team-a/pods/p", "/api/v1/proxy/namespaces/team-a/pods/p/run"} {
		got := r.ask(t, "GET "+path+" HTTP/1.1\nHost: localhost\n"+markHeader+": x"+bearer(bobToken))
		if n := len(r.arrived("x")); n != 0 {
			t.Errorf("%s: answer %d, %d arrived", path, got.Code, n)
		}
	}
}

// TestNothingIsSentAnonymouslyOverPlainHTTP: with an http:// server a bearer credential is left out, and the request
// goes anonymously.
func TestNothingIsSentAnonymouslyOverPlainHTTP(t *testing.T) {
	plain := fakeapi.New(t, fakeapi.Options{Plain: true})
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		cfg.Clusters = append(cfg.Clusters, config.DefaultCluster("plain", config.Connection{Load: func() (*rest.Config, error) {
			return &rest.Config{Host: plain.URL}, nil
		}}))
		for _, c := range []string{"alice", "carol"} {
			g := clientOf(cfg, c).Grants[0]
			g.Cluster = "plain"
			clientOf(cfg, c).Grants = append(clientOf(cfg, c).Grants, g)
		}
	})
	plain.Handle("GET "+pods, fakeapi.Text(200, "fine"))
	for _, token := range []string{aliceToken, carolToken} {
		got := r.ask(t, "GET /clusters/plain"+pods+" HTTP/1.1\nHost: localhost\n"+markHeader+": x"+bearer(token))
		for _, q := range plain.Requests("GET " + pods) {
			t.Errorf("answer %d, arrived with %v: without the credential", got.Code, identityOf(q.Header))
		}
	}
}

// TestRefusedUpgradeEndsTheConnection: after an upgrade that kuberelay itself refuses, the bytes after it are
// read as a request, of whoever the connection is (uid, certificate).
func TestRefusedUpgradeEndsTheConnection(t *testing.T) {
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) { clientOf(cfg, "local").Grants[0].Policy = "read-only" })
	second := lines("GET " + pods + " HTTP/1.1\nHost: localhost\n" + markHeader + ": second")
	w := r.connect("sock")
	w.send(lines("GET "+podExec+" HTTP/1.1\nHost: x"+websocket) + second)
	if got := w.receive("GET"); got.Code != 403 {
		t.Fatal(got.Code)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, w.in)
	if n := len(r.arrived("second")); n != 0 {
		t.Errorf("after the refused upgrade, %d requests arrived", n)
	}
}
