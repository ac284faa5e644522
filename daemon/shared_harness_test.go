package daemon_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/proxy"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// The tests named Shared attack a shared listener, and judge by what the API
// servers received.

// The tokens of clients, and of the credentials that clusters are called with.
const (
	aliceToken  = "canary-alice-4f1d0c9be2"
	bobToken    = "canary-bob-77ab10e3c5"
	carolToken  = "canary-carol-1b5e0d8f42"
	daveToken   = "canary-dave-9c3f7a2e60"
	brokerToken = "canary-broker-a1b2c3d4e5"
	otherToken  = "canary-other-0f9e8d7c6b"
)

// What alice may do in full and bob may read.
const (
	pods    = "/api/v1/namespaces/team-a/pods"
	secrets = "/api/v1/namespaces/team-a/secrets"
	podExec = pods + "/p/exec"
)

// team is a daemon with shared listeners, in front of the cluster test at the
// root and the cluster other. The listener proxy takes tokens in clear text,
// tls takes tokens and certificates, and sock the uid.
type team struct {
	*relay
	Other *fakeapi.Server
	CA    *fakeapi.CA // of the listener tls and its clients
	dir   string
	t     testing.TB

	tracing *proxy.Tracing // an edit of the configuration may set it

	mu   sync.Mutex
	next func() (*config.Configuration, error) // what a reload loads; guarded by mu
	base func() *config.Configuration
}

// startTeam runs the daemon until the test ends.
func startTeam(t testing.TB, n int, edit ...func(*team, *config.Configuration)) *team {
	t.Helper()
	dir, err := os.MkdirTemp("", "kr") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &team{CA: fakeapi.NewCA(t), dir: dir, t: t}
	test := servers(t, n)
	r.Other = fakeapi.New(t, fakeapi.Options{UID: "other"})
	for _, s := range append(slices.Clone(test), r.Other) {
		s.RequireToken(testToken, brokerToken, otherToken)
		s.Handle("*", fakeapi.Text(200, "fine"))
	}
	cert, key := r.CA.ServerCertificate(t)
	r.file("tls.crt", string(cert))
	r.file("tls.key", string(key))
	r.file("clients.crt", string(r.CA.PEM))
	r.file("broker", brokerToken)
	r.file("other", otherToken)
	for _, user := range []string{"carol", "dave", "kubeconfig"} {
		cert, key := test[0].CA.ClientCertificate(t, user+"-certificate")
		r.file(user+".crt", string(cert))
		r.file(user+".key", string(key))
	}
	r.base = func() *config.Configuration {
		cfg := configuration(test)
		r.share(cfg)
		for _, e := range edit {
			e(r, cfg)
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("the test's configuration: %v", err)
		}
		return cfg
	}
	r.next = func() (*config.Configuration, error) { return r.base(), nil }
	core, logs := observer.New(zap.DebugLevel)
	cfg := r.base()
	d, err := daemon.New(cfg, daemon.Options{
		Log: zap.New(core), Version: "v0-test", ConfigFile: r.file("kuberelay.yaml", "# of the test"), Tracing: r.tracing,
		Load: func() (*config.Configuration, error) {
			r.mu.Lock()
			load := r.next
			r.mu.Unlock()
			return load()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.relay = relayOf(t, d, test, logs)
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if addr := d.Addr("proxy"); addr != nil {
		r.URL = "http://" + addr.String()
	}
	for i := range test {
		r.awaitState(i, "READY")
	}
	return r
}

// share makes the configuration's only listener a shared one and adds the rest.
func (r *team) share(cfg *config.Configuration) {
	other := config.DefaultCluster("other", config.Connection{Load: func() (*rest.Config, error) {
		return &rest.Config{Host: r.Other.URL, BearerToken: testToken, TLSClientConfig: rest.TLSClientConfig{CAData: r.Other.CAPEM}}, nil
	}})
	other.Discovery.Mode = config.DiscoverNone
	cfg.Clusters = append(cfg.Clusters, other)
	cfg.Credentials = []auth.CredentialConfig{
		{Name: "broker", TokenFile: r.path("broker")},
		{Name: "other", TokenFile: r.path("other")},
		{Name: "carol", ClientCertificate: &auth.CertificateFiles{CertFile: r.path("carol.crt"), KeyFile: r.path("carol.key")}},
		{Name: "dave", ClientCertificate: &auth.CertificateFiles{CertFile: r.path("dave.crt"), KeyFile: r.path("dave.key")}},
	}
	cfg.Policies = []policy.Config{
		{Name: "all", Rules: []policy.Rule{
			{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
			{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
		}},
		{Name: "read-only", Rules: []policy.Rule{
			{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/*"}, Namespaces: []string{"team-a"}},
			{Verbs: []string{"get"}, NonResourceURLs: []string{"/version", "/api", "/api/*"}},
		}},
	}
	as := func(user string, groups ...string) auth.Impersonation {
		return auth.Impersonation{User: user, Groups: groups}
	}
	uid := uint32(os.Getuid())
	cfg.Clients = []config.Client{
		{Name: "alice", Match: []identify.Match{tokenMatch(aliceToken), {Certificate: &identify.CertificateMatch{CommonName: "alice"}}}, Grants: []config.Grant{
			{Cluster: "test", Credential: "broker", Impersonate: as("alice", "dev", "qa"), Policy: "all"},
			{Cluster: "other", Credential: "other", Impersonate: as("alice"), Policy: "all"},
		}},
		{Name: "bob", Match: []identify.Match{tokenMatch(bobToken)}, Grants: []config.Grant{
			{Cluster: "test", Credential: "broker", Impersonate: as("bob", "ops"), Policy: "read-only"},
		}},
		{Name: "carol", Match: []identify.Match{tokenMatch(carolToken)}, Grants: []config.Grant{
			{Cluster: "test", Credential: "carol", Policy: "all"},
		}},
		{Name: "dave", Match: []identify.Match{tokenMatch(daveToken)}, Grants: []config.Grant{
			{Cluster: "test", Credential: "dave", Policy: "all"},
		}},
		{Name: "local", Match: []identify.Match{{UID: &uid}}, Grants: []config.Grant{
			{Cluster: "test", Credential: "broker", Impersonate: as("local"), Policy: "all"},
		}},
	}
	shared := func(name, address string, methods ...identify.Method) config.Listener {
		l := config.DefaultListener(name, address, "test")
		l.Filter, l.Mode, l.Identify = filter.Config{}, config.Shared, methods
		return l
	}
	overTLS := shared("tls", "127.0.0.1:0", identify.Bearer, identify.Certificate)
	overTLS.TLS = &config.ListenerTLS{CertFile: r.path("tls.crt"), KeyFile: r.path("tls.key"), ClientCAFile: r.path("clients.crt")}
	sock := shared("sock", "unix://"+r.path("sock"), identify.UID)
	sock.SocketMode = config.DefaultSocketMode
	cfg.Listeners = []config.Listener{shared("proxy", "127.0.0.1:0", identify.Bearer), overTLS, sock}
	cfg.Log = config.LogConfig{Level: config.LevelDebug, Format: config.FormatJSON, AccessLog: true}
	cfg.Audit = audit.Config{File: r.path("audit"), Level: audit.LevelMetadata, OnFailure: audit.OnFailureBlock}
}

// relayOf wraps a daemon that [start] has not made, and ends it with the test.
func relayOf(t testing.TB, d *daemon.Daemon, servers []*fakeapi.Server, logs *observer.ObservedLogs) *relay {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			for _, e := range logs.All() {
				t.Logf("%s %s %v", e.Level, e.Message, e.ContextMap())
			}
		}
	})
	return &relay{t: t, Daemon: d, Servers: servers, Logs: logs, Client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func tokenMatch(token string) identify.Match {
	sum := sha256.Sum256([]byte(token))
	return identify.Match{TokenSHA256: hex.EncodeToString(sum[:])}
}

// clientOf finds a client of a configuration.
func clientOf(cfg *config.Configuration, name string) *config.Client {
	i := slices.IndexFunc(cfg.Clients, func(c config.Client) bool { return c.Name == name })
	return &cfg.Clients[i]
}

func (r *team) path(name string) string { return filepath.Join(r.dir, name) }

// file writes a file of the test's directory, whole, and returns its path.
func (r *team) file(name, content string) string {
	path := r.path(name)
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// reload puts the configuration of the start, edited, into force.
func (r *team) reload(edit func(*config.Configuration)) {
	r.t.Helper()
	r.mu.Lock()
	r.next = func() (*config.Configuration, error) {
		cfg := r.base()
		edit(cfg)
		return cfg, nil
	}
	r.mu.Unlock()
	if _, err := r.Daemon.Reload(r.t.Context()); err != nil {
		r.t.Fatalf("reload: %v", err)
	}
}

// connect opens a connection to a listener; with a certificate over TLS.
func (r *team) connect(listener string, certificate ...tls.Certificate) *wire {
	r.t.Helper()
	addr := r.Daemon.Addr(listener)
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	if listener == "tls" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(r.CA.PEM)
		conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: certificate})
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	w := &wire{t: r.t, conn: conn}
	w.in = bufio.NewReader(io.TeeReader(conn, &w.all))
	return w
}

// certificate is a client certificate for the listener tls.
func (r *team) certificate(name string) tls.Certificate {
	r.t.Helper()
	cert, key := r.CA.ClientCertificate(r.t, name)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		r.t.Fatal(err)
	}
	return pair
}

// certificateUntil is one that ends at a time.
func (r *team) certificateUntil(name string, until time.Time) tls.Certificate {
	r.t.Helper()
	cert, key := r.CA.ClientCertificateUntil(r.t, until, name)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		r.t.Fatal(err)
	}
	return pair
}

// arrived are the requests with a mark that reached any API server.
func (r *team) arrived(mark string) []fakeapi.Request {
	all := r.seen(mark)
	return append(all, slices.DeleteFunc(r.Other.Requests(), func(q fakeapi.Request) bool { return q.Header.Get(markHeader) != mark })...)
}

// bearer is the line by which a client is known.
func bearer(token string) string { return "\nAuthorization: Bearer " + token }

// asAlice and asBob are what the API servers are to receive of each.
func asAlice() http.Header {
	return http.Header{"Authorization": {"Bearer " + brokerToken}, "Impersonate-User": {"alice"}, "Impersonate-Group": {"dev", "qa"}}
}

func asBob() http.Header {
	return http.Header{"Authorization": {"Bearer " + brokerToken}, "Impersonate-User": {"bob"}, "Impersonate-Group": {"ops"}}
}

// identityOf are the fields of a request that say who makes it, in whatever
// spelling.
func identityOf(h http.Header) http.Header {
	found := http.Header{}
	for name, values := range h {
		if plain := plainName(name); plain == "authorization" || strings.HasPrefix(plain, "impersonate-") || strings.HasPrefix(plain, "x-remote-") {
			found[name] = values
		}
	}
	return found
}

// plainName is a field's name as the most careless server reads it.
func plainName(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// neverUpstream are the fields that never reach an API server; a name that
// ends in "-" is a prefix.
var neverUpstream = []string{
	"cookie", "cookie2", "x-remote-", "forwarded", "via", "proxy-", "x-real-ip", "x-original-", "x-client-ip", "x-forwarded-",
	"http2-settings", "keep-alive", "trailer", "expect", "x-http-method", "x-http-method-override", "x-method-override", "origin",
}

// checkArrived holds one request that an API server received to what every one
// has to be: made as the client, with nothing of its own about who it is.
func checkArrived(t testing.TB, q fakeapi.Request, who http.Header) {
	t.Helper()
	if got := identityOf(q.Header); !sameFields(got, who) {
		t.Errorf("%s %s arrived as %v, want %v", q.Method, q.Target, got, who)
	}
	for name, values := range q.Header {
		plain := plainName(name)
		if plain == "audit-id" && name != "Audit-Id" {
			t.Errorf("%s %s arrived with %s: %q", q.Method, q.Target, name, values)
		}
		for _, never := range neverUpstream {
			if plain != never && (!strings.HasSuffix(never, "-") || !strings.HasPrefix(plain, never)) {
				continue
			}
			if name != "X-Forwarded-For" || !slices.Equal(values, []string{"127.0.0.1"}) { // the peer's own
				t.Errorf("%s %s arrived with %s: %q", q.Method, q.Target, name, values)
			}
		}
		if strings.Contains(strings.ToLower(strings.Join(values, ",")), "bearer.authorization") {
			t.Errorf("%s %s arrived with the client's token in %s: %q", q.Method, q.Target, name, values)
		}
	}
	if id := q.Header["Audit-Id"]; len(id) != 1 || uuid.Validate(id[0]) != nil {
		t.Errorf("%s %s arrived with Audit-Id %q", q.Method, q.Target, id)
	}
	if upgrade := q.Header.Get("Upgrade"); upgrade != "" && upgrade != "websocket" && upgrade != "SPDY/3.1" {
		t.Errorf("%s %s arrived with Upgrade: %s", q.Method, q.Target, upgrade)
	}
	if connection := q.Header["Connection"]; len(connection) > 0 && !slices.Equal(connection, []string{"Upgrade"}) {
		t.Errorf("%s %s arrived with Connection: %q", q.Method, q.Target, connection)
	}
	if len(q.Trailer) > 0 {
		t.Errorf("%s %s arrived with trailers %v", q.Method, q.Target, q.Trailer)
	}
}

func sameFields(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name, values := range a {
		if !slices.Equal(values, b[name]) {
			return false
		}
	}
	return true
}

// event is a line of the audit log.
type event struct {
	AuditID, Stage, RequestURI, Verb string
	User                             struct{ Username string }
	ImpersonatedUser                 *struct {
		Username string
		Groups   []string
	}
	ResponseStatus *struct {
		Code    int
		Message string
	}
	Annotations map[string]string
}

// events are those of the audit log so far, of one request if an ID is given.
func (r *team) events(id string) []event {
	r.t.Helper()
	raw, err := os.ReadFile(r.path("audit"))
	if err != nil {
		r.t.Fatal(err)
	}
	var all []event
	for line := range strings.Lines(string(raw)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Fatalf("audit line %q: %v", line, err)
		}
		if id == "" || e.AuditID == id {
			all = append(all, e)
		}
	}
	return all
}

// awaitEvent waits for the event of a request at a stage.
func (r *team) awaitEvent(stage string, is func(event) bool) event {
	r.t.Helper()
	var found event
	r.await(fmt.Sprintf("an audit event %s", stage), func() bool {
		for _, e := range r.events("") {
			if e.Stage == stage && is(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// await waits until something holds.
func (r *team) await(what string, holds func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			r.t.Fatalf("within 10 s: not %s", what)
		}
		<-tick.C
	}
}

// watch opens a watch with a token and waits until it has begun.
func (r *team) watch(token string) *openWatch {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.URL+pods+"?watch=1", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.Client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("watch: %d", resp.StatusCode)
	}
	w := &openWatch{t: r.t, id: resp.Header.Get("Audit-Id"), ended: make(chan error, 1), frames: make(chan string, 64)}
	r.t.Cleanup(func() { resp.Body.Close() })
	go func() {
		in := bufio.NewReader(resp.Body)
		for {
			line, err := in.ReadString('\n')
			if line != "" {
				w.frames <- line
			}
			if err != nil {
				w.ended <- err
				return
			}
		}
	}()
	return w
}

// openWatch is a client's end of a watch.
type openWatch struct {
	t      testing.TB
	id     string
	frames chan string
	ended  chan error // io.EOF: cleanly
}

// wantEnd wants the watch to end cleanly within the time a revocation has.
func (w *openWatch) wantEnd() {
	w.t.Helper()
	limit := time.NewTimer(time.Second)
	defer limit.Stop()
	select {
	case err := <-w.ended:
		if err != io.EOF {
			w.t.Errorf("the watch ended with %v, want a clean end", err)
		}
	case <-limit.C:
		w.t.Error("the watch was still open after 1 s")
	}
}

// wantOpen wants the watch to pass another event on.
func (w *openWatch) wantOpen(send func()) {
	w.t.Helper()
	send()
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	select {
	case <-w.frames:
	case err := <-w.ended:
		w.t.Errorf("the watch has ended with %v, want it open", err)
	case <-limit.C:
		w.t.Error("no event came through the watch")
	}
}

// greeting is what a tunnel begins with: a whole frame of a WebSocket.
const greeting = "\x82\x08greeting"

// tunnelTo upgrades a connection with a token and waits for the greeting.
func (r *team) tunnelTo(token, path, offer string) *wire {
	r.t.Helper()
	w := r.connect("proxy")
	w.send(lines("GET " + path + " HTTP/1.1\nHost: localhost" + bearer(token) + offer))
	if got := w.receive("GET"); got.Code != 101 {
		r.t.Fatalf("upgrade: %d %s", got.Code, got.Body)
	}
	w.expect(greeting)
	return w
}

// echoes proves that a tunnel is open.
func (w *wire) echoes() {
	w.t.Helper()
	w.send("hello")
	w.expect("hello")
}
