package daemon_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestDotsInALocationDoNotLeadOut: a Location with dot segments leads a client from one cluster to the
// root's.
func TestDotsInALocationDoNotLeadOut(t *testing.T) {
	r := startTeam(t, 1)
	for _, location := range []string{
		"/../../api/v1/namespaces/team-a/secrets", "../../../../../../../api/v1/namespaces/team-a/secrets", "/%2e%2e/%2e%2e" + secrets,
		"/clusters/test" + secrets, "./../../../../../../.." + secrets,
	} {
		r.Other.Handle("POST "+pods, fakeapi.Respond(307, "", "Location", location))
		base, _ := http.NewRequest("POST", "http://localhost/clusters/other"+pods, nil)
		got := r.ask(t, "POST /clusters/other"+pods+" HTTP/1.1\nHost: localhost\nContent-Length: 0"+bearer(aliceToken))
		if got.Code >= 400 {
			continue
		}
		to, err := base.URL.Parse(got.Header.Get("Location")) // as net/http's client does
		if err == nil && !strings.HasPrefix(to.Path, "/clusters/other/") {
			t.Errorf("%s: the client goes on to %s", location, to)
		}
	}
}

// TestKubeconfigThatIsSwitchedGetsNoTokenOfTheOneBefore: a kubeconfig file that is switched in place to another cluster: its
// server gets the service account's token of the one before.
func TestKubeconfigThatIsSwitchedGetsNoTokenOfTheOneBefore(t *testing.T) {
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	second.Handle("GET "+pods, fakeapi.Text(200, "fine"))
	second.Handle("POST /api/v1/namespaces/n/serviceaccounts/s/token", fakeapi.JSON(201, map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
		"status": map[string]any{"token": "second-clusters-token", "expirationTimestamp": time.Now().Add(time.Hour)}}))
	var path string
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		if path == "" {
			path = r.Other.Kubeconfig(testToken)
		}
		cfg.Clusters[1].Kubeconfig = auth.KubeconfigRef{Path: path}
		cfg.Clusters[1].Connection = config.KubeconfigConnection(cfg.Clusters[1].Kubeconfig)
		cfg.Credentials = append(cfg.Credentials, auth.CredentialConfig{Name: "sa", ServiceAccountToken: &auth.ServiceAccountToken{
			Credential: "other", Cluster: "other", Namespace: "n", ServiceAccount: "s"}})
		clientOf(cfg, "alice").Grants[1].Credential = "sa"
	})
	r.Other.RequireToken()
	r.Other.Handle("POST /api/v1/namespaces/n/serviceaccounts/s/token", fakeapi.JSON(201, map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
		"status": map[string]any{"token": "first-clusters-token", "expirationTimestamp": time.Now().Add(time.Hour)}}))
	ask := func() { r.ask(t, "GET /clusters/other"+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)) }
	ask()
	raw, err := os.ReadFile(second.Kubeconfig(testToken))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	r.await("the second cluster is called", func() bool { ask(); return len(second.Requests("GET "+pods)) > 0 })
	for _, q := range second.Requests("GET " + pods) {
		if q.Header.Get("Authorization") == "Bearer first-clusters-token" {
			t.Fatal("the second cluster has received the first one's token")
		}
	}
}

// TestUpgradeThatFailsBeforeTheServerEndsTheConnection: an upgrade that fails after the gates and before the server (audit,
// credential, ended meanwhile) leaves the connection open for what follows.
func TestUpgradeThatFailsBeforeTheServerEndsTheConnection(t *testing.T) {
	r := startTeam(t, 1)
	if err := r.Daemon.BreakAudit(); err != nil {
		t.Fatal(err)
	}
	w := r.connect("sock")
	w.send(lines("GET "+podExec+" HTTP/1.1\nHost: x"+websocket) + lines("GET "+pods+" HTTP/1.1\nHost: x\n"+markHeader+": second"))
	if got := w.receive("GET"); got.Code != 503 {
		t.Fatal(got.Code)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, w.in)
	if n := len(r.arrived("second")); n != 0 {
		t.Errorf("after the failed upgrade %d requests arrived", n)
	}
}

// TestHeldRequestOfASingleListenerEndsWithIt: a single listener's request that is held while it becomes a shared one
// goes on, anonymously, and a stream of it is opened then.
func TestHeldRequestOfASingleListenerEndsWithIt(t *testing.T) {
	single := true
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = 20 * time.Second
		if single {
			l := config.DefaultListener("proxy", "127.0.0.1:0", "test")
			l.Filter.RejectPaths = nil
			cfg.Listeners[0] = l
		}
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	r.Servers[0].Down()
	r.awaitState(0, "DOWN")
	w := r.connect("proxy")
	w.send(lines("GET " + podExec + " HTTP/1.1\nHost: localhost\n" + markHeader + ": held" + websocket))
	r.await("it is held", func() bool { return r.Daemon.Status().InFlight.Upgrades == 1 })
	single = false
	r.reload(func(*config.Configuration) {})
	r.Servers[0].Up()
	r.awaitState(0, "READY")
	_ = w.conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	_, err := io.Copy(io.Discard, w.in)
	if n := len(r.arrived("held")); n != 0 {
		t.Errorf("%d anonymous exec arrived after the listener was a shared one (%v)", n, err)
	}
}

// TestSingleTunnelEndsWithItsCluster: a tunnel of a single listener to a cluster that is another one now.
func TestSingleTunnelEndsWithItsCluster(t *testing.T) {
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		l := config.DefaultListener("single", "127.0.0.1:0", "test")
		l.Filter.RejectPaths = nil
		cfg.Listeners = append(cfg.Listeners, l)
	})
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	w := r.connect("single")
	w.send(lines("GET " + podExec + " HTTP/1.1\nHost: localhost" + websocket))
	if got := w.receive("GET"); got.Code != 101 {
		t.Fatal(got.Code, got.Body)
	}
	w.expect(greeting)
	r.reload(func(cfg *config.Configuration) {
		cfg.Grace = 500 * time.Millisecond
		cfg.Clusters[0].Kubeconfig.Path = "/another"
		cfg.Clusters[0].Connection.Load = func() (*rest.Config, error) {
			return &rest.Config{Host: second.URL, BearerToken: testToken, TLSClientConfig: rest.TLSClientConfig{CAData: second.CAPEM}}, nil
		}
	})
	_ = w.conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.Copy(io.Discard, w.in); err != nil {
		t.Errorf("the exec at the cluster that was replaced goes on: %v", err)
	}
}
