package daemon_test

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

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
	r.start()
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

// loads sets what a reload gets for the configuration file.
func (r *team) loads(load func() (*config.Configuration, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = load
}

// reload puts the configuration of the start, edited, into force.
func (r *team) reload(edit func(*config.Configuration)) {
	r.t.Helper()
	r.loads(func() (*config.Configuration, error) {
		cfg := r.base()
		edit(cfg)
		return cfg, nil
	})
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

// bearer is the line by which a client is known.
func bearer(token string) string { return "\nAuthorization: Bearer " + token }

// singleListener is a listener that knows no clients and lets exec pass.
func singleListener(name string) config.Listener {
	l := config.DefaultListener(name, "127.0.0.1:0", "test")
	l.Filter.RejectPaths = nil
	return l
}

// pointAt gives a cluster another kubeconfig, which leads to s.
func pointAt(c *config.Cluster, s *fakeapi.Server) {
	c.Kubeconfig.Path = "/another"
	c.Connection.Load = func() (*rest.Config, error) {
		return &rest.Config{Host: s.URL, BearerToken: testToken, TLSClientConfig: rest.TLSClientConfig{CAData: s.CAPEM}}, nil
	}
}
