package daemon_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// TestFailedUpgradeWithALocationEndsTheConnection: the same where the API server refuses and names another server.
func TestFailedUpgradeWithALocationEndsTheConnection(t *testing.T) {
	r := startTeam(t, 1)
	r.all("GET "+pods+"?watch=1", fakeapi.Respond(403, "no", "Location", "https://evil.example/"))
	w := r.connect("proxy")
	w.send(lines("GET "+pods+"?watch=1 HTTP/1.1\nHost: localhost"+bearer(aliceToken)+websocket) +
		lines("GET "+secrets+" HTTP/1.1\nHost: localhost\n"+markHeader+": second"+bearer(aliceToken)))
	got := w.receive("GET")
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, w.in)
	if n := len(r.arrived("second")); n != 0 {
		t.Errorf("answer %d; after the failed upgrade %d requests arrived", got.Code, n)
	}
}

// TestRevocationEndsWhoDoesNotRead: a revoked client that does not read keeps its watch: no event of the
// end, its limit taken, until it likes.
func TestRevocationEndsWhoDoesNotRead(t *testing.T) {
	r := startTeam(t, 1)
	r.all("GET "+pods, fakeapi.Huge(64<<20))
	for _, path := range []string{pods + "?watch=1", pods} {
		w := r.connect("proxy")
		if tcp, ok := w.conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4096)
		}
		w.send(lines("GET " + path + " HTTP/1.1\nHost: localhost" + bearer(aliceToken)))
	}
	open := func() (n int64) {
		for _, c := range r.Daemon.Status().Clients {
			if c.Name == "alice" {
				n = c.InFlight + c.Watches
			}
		}
		return n
	}
	r.await("both are open", func() bool { return open() == 2 })
	r.Servers[0].Await("GET "+pods, 2)
	if n, err := r.Daemon.Revoke("alice", time.Time{}, ""); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	r.await("nothing of alice's is open", func() bool { return open() == 0 })
}

// TestLocationsThatSomeReadAsAnotherServer: Locations that some clients read as another server.
func TestLocationsThatSomeReadAsAnotherServer(t *testing.T) {
	r := startTeam(t, 1)
	for name, locations := range map[string][]string{
		"scheme without slashes": {"Location", "https:evil.example/x"},
		"backslashes":            {"Location", `\\evil.example\x`},
		"slash and backslash":    {"Location", `/\evil.example/x`},
		"scheme and backslashes": {"Location", `https:\\evil.example/x`},
		"two":                    {"Location", "/x", "Location", "https://evil.example/x"},
		"refresh":                {"Refresh", "0; url=https://evil.example/"},
		"tab":                    {"Location", "/\t/evil.example"},
	} {
		r.all("GET "+pods, fakeapi.Respond(302, "", locations...))
		got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken))
		if strings.Contains(got.Raw, "evil.example") {
			t.Errorf("%s: %d %q", name, got.Code, got.Header)
		}
	}
}

// TestReloadWithoutAnAuditFileSaysWhatItDid: a reload that was put into force is reported as refused when the audit
// file cannot be opened anew.
func TestReloadWithoutAnAuditFileSaysWhatItDid(t *testing.T) {
	r := startTeam(t, 1)
	if err := os.Remove(r.path("audit")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.path("audit"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.next = func() (*config.Configuration, error) {
		cfg := r.base()
		cfg.Clients = cfg.Clients[1:]
		return cfg, nil
	}
	r.mu.Unlock()
	_, err := r.Daemon.Reload(t.Context())
	got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken))
	for _, e := range r.Logs.FilterMessageSnippet("the one before stays in force").All() {
		if got.Code == 401 {
			t.Errorf("said %q (%v), and alice is gone: answer %d", e.Message, err, got.Code)
		}
	}
}

// TestOptionsOfNothingIsARequestLikeAnyOther: OPTIONS * is answered by net/http: nobody is identified, no host looked
// at, and nothing is on record.
func TestOptionsOfNothingIsARequestLikeAnyOther(t *testing.T) {
	r := startTeam(t, 1)
	got := r.ask(t, "OPTIONS * HTTP/1.1\nHost: evil.example\nOrigin: https://evil.example")
	if got.Code == 200 || len(r.events("")) == 0 {
		t.Errorf("answer %d, %d events", got.Code, len(r.events("")))
	}
}

// TestClusterThatIsAnotherOneEndsItsTunnels: a cluster whose kubeconfig is another one keeps the old one's tunnels
// beyond the grace time.
func TestClusterThatIsAnotherOneEndsItsTunnels(t *testing.T) {
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	r := startTeam(t, 1)
	r.all("GET "+podExec, fakeapi.Upgrade(greeting))
	w := r.tunnelTo(aliceToken, podExec, websocket)
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

// TestRevocationEndsAnUpload: a request whose body does not come is not ended by a revocation.
func TestRevocationEndsAnUpload(t *testing.T) {
	r := startTeam(t, 1)
	w := r.connect("proxy")
	w.send(lines("POST " + pods + " HTTP/1.1\nHost: localhost\nContent-Length: 10" + bearer(aliceToken)))
	r.await("the request is known", func() bool { return len(r.events("")) > 0 })
	if _, err := r.Daemon.Revoke("alice", time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := http.ReadResponse(bufio.NewReader(w.conn), nil); err != nil {
		t.Errorf("2 s after the revocation the upload is still waited for: %v", err)
	}
}

// TestServerMayNotSwitchToAnotherProtocol: the API server switches to another protocol than was asked for.
func TestServerMayNotSwitchToAnotherProtocol(t *testing.T) {
	r := startTeam(t, 1)
	r.all("GET "+podExec, verbatim("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSet-Cookie: a=b\r\n\r\n"))
	if got := r.ask(t, "GET "+podExec+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)+websocket); got.Code == 101 {
		t.Errorf("answer %d %v", got.Code, got.Header)
	}
}

// TestEverySiteOfARequestCounts: only the first of several Sec-Fetch-Site counts.
func TestEverySiteOfARequestCounts(t *testing.T) {
	r := startTeam(t, 1)
	if got := r.ask(t, "GET "+pods+" HTTP/1.1\nHost: localhost\nSec-Fetch-Site: none\nSec-Fetch-Site: cross-site"+bearer(aliceToken)); got.Code != 403 {
		t.Errorf("answer %d", got.Code)
	}
}

// TestStrangersAreSentAway: a 401 leaves the connection to the stranger, for five minutes.
func TestStrangersAreSentAway(t *testing.T) {
	r := startTeam(t, 1)
	w := r.connect("proxy")
	w.send(lines("GET " + pods + " HTTP/1.1\nHost: localhost"))
	if got := w.receive("GET"); got.Code != 401 {
		t.Fatal(got.Code)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := w.in.ReadByte(); err != io.EOF {
		t.Errorf("the connection stays open: %v", err)
	}
}

// TestReloadTakesNoTLSFromTheNetwork: a reload that takes TLS from an inherited socket that other machines
// reach.
func TestReloadTakesNoTLSFromTheNetwork(t *testing.T) {
	socket, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	r := &team{CA: fakeapi.NewCA(t), dir: t.TempDir(), t: t}
	cert, key := r.CA.ServerCertificate(t)
	r.file("tls.crt", string(cert))
	r.file("tls.key", string(key))
	test := servers(t, 1)
	build := func(secure bool) *config.Configuration {
		cfg := configuration(test)
		cfg.Log = config.LogConfig{Level: "debug", Format: "json"}
		l := &cfg.Listeners[0]
		l.Mode, l.Filter, l.Identify, l.Address = config.Shared, filter.Config{}, []identify.Method{identify.Bearer}, "systemd:x"
		if secure {
			l.TLS = &config.ListenerTLS{CertFile: r.path("tls.crt"), KeyFile: r.path("tls.key")}
		}
		return cfg
	}
	d, err := daemon.New(build(true), daemon.Options{
		Inherited: listen.Inherited{"x": {socket}}, ConfigFile: r.file("c", ""),
		Load: func() (*config.Configuration, error) { return build(false), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reload(t.Context()); err == nil {
		t.Error("the reload has taken TLS from a shared listener on 0.0.0.0")
	}
}

// TestRevocationThatCannotBeKeptIsInForce: a revocation that cannot be kept over a restart is not made at all.
func TestRevocationThatCannotBeKeptIsInForce(t *testing.T) {
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) { cfg.StateFile = r.path("state/state.json") })
	r.Servers[0].Watch(pods, nil)
	w := r.watch(aliceToken) // the directory state is not there, as a full disk would be
	_, err := r.Daemon.Revoke("alice", time.Time{}, "stolen")
	if err == nil {
		t.Error("nobody is told that the revocation does not outlive the process")
	}
	select {
	case <-w.ended:
	case <-time.After(time.Second):
		t.Errorf("alice goes on, since %v", err)
	}
	if got := r.ask(t, "GET "+pods+"/p HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 401 {
		t.Errorf("answer %d", got.Code)
	}
}

// TestRevocationDoesNotWaitForAReload: a reload that hangs (a user database, a network file system) holds a
// revocation up.
func TestRevocationDoesNotWaitForAReload(t *testing.T) {
	r := startTeam(t, 1)
	r.Servers[0].Watch(pods, nil)
	w := r.watch(aliceToken)
	hang, loading, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	r.mu.Lock()
	r.next = func() (*config.Configuration, error) {
		close(loading)
		<-hang
		return r.base(), nil
	}
	r.mu.Unlock()
	go func() {
		defer close(done)
		_, _ = r.Daemon.Reload(t.Context())
	}()
	<-loading
	revoked := make(chan struct{})
	go func() {
		defer close(revoked)
		_, _ = r.Daemon.Revoke("alice", time.Time{}, "stolen")
	}()
	select {
	case <-w.ended:
	case <-time.After(2 * time.Second):
		t.Error("alice goes on for as long as the reload hangs")
	}
	close(hang)
	<-done
	<-revoked
}

// TestServiceAccountTokenStaysInItsCluster: a service account's token of a cluster is sent to the cluster that has
// taken its name.
func TestServiceAccountTokenStaysInItsCluster(t *testing.T) {
	second := fakeapi.New(t, fakeapi.Options{UID: "second"})
	second.Handle("GET "+pods, fakeapi.Text(200, "fine"))
	moved := false
	r := startTeam(t, 1, func(r *team, cfg *config.Configuration) {
		cfg.Credentials = append(cfg.Credentials, auth.CredentialConfig{Name: "sa", ServiceAccountToken: &auth.ServiceAccountToken{
			Credential: "other", Cluster: "other", Namespace: "n", ServiceAccount: "s"}})
		clientOf(cfg, "alice").Grants[1].Credential = "sa"
		if moved {
			cfg.Clusters[1].Kubeconfig.Path = "/another"
			cfg.Clusters[1].Connection.Load = func() (*rest.Config, error) {
				return &rest.Config{Host: second.URL, BearerToken: testToken, TLSClientConfig: rest.TLSClientConfig{CAData: second.CAPEM}}, nil
			}
		}
	})
	r.Other.RequireToken()
	r.Other.Handle("POST /api/v1/namespaces/n/serviceaccounts/s/token", fakeapi.JSON(201, map[string]any{
		"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
		"status": map[string]any{"token": "first-clusters-token", "expirationTimestamp": time.Now().Add(time.Hour)}}))
	if got := r.ask(t, "GET /clusters/other"+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken)); got.Code != 200 {
		t.Fatal(got.Code, got.Body)
	}
	moved = true
	r.reload(func(*config.Configuration) {})
	r.ask(t, "GET /clusters/other"+pods+" HTTP/1.1\nHost: localhost"+bearer(aliceToken))
	for _, q := range second.Requests("GET " + pods) {
		if q.Header.Get("Authorization") == "Bearer first-clusters-token" {
			t.Error("the second cluster has received the first one's token")
		}
	}
}
