package daemon_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// launch runs a daemon in front of a server that it need not find READY.
func launch(t testing.TB, s *fakeapi.Server, edit ...func(*config.Configuration)) *relay {
	t.Helper()
	cfg := configuration([]*fakeapi.Server{s})
	cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = 50 * time.Millisecond
	for _, e := range edit {
		e(cfg)
	}
	d := newDaemon(t, cfg)
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &relay{t: t, Daemon: d, Servers: []*fakeapi.Server{s}, URL: "http://" + d.Addr("proxy").String()}
}

// TestParityTLSIsVerified brings every kind of wrong certificate: neither a
// plain request nor an upgrade sends it a byte. kubectl proxy does not verify
// upgrades when the kubeconfig names no CA.
func TestParityTLSIsVerified(t *testing.T) {
	t.Parallel()
	withoutCA := editRest(func(c *rest.Config) { c.TLSClientConfig = rest.TLSClientConfig{} })
	withName := editRest(func(c *rest.Config) { c.ServerName = "another.example" })
	as := func(*config.Configuration) {}
	for name, c := range map[string]struct {
		certificate fakeapi.Certificate
		edit        func(*config.Configuration)
	}{
		"another CA":              {fakeapi.OtherCA, as},
		"another name":            {fakeapi.WrongName, as},
		"expired":                 {fakeapi.Expired, as},
		"no CA in the kubeconfig": {fakeapi.GoodCertificate, withoutCA},
		"another tls-server-name": {fakeapi.GoodCertificate, withName},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := servers(t, 1)[0]
			s.SetCertificate(c.certificate)
			s.Handle("*", fakeapi.Upgrade("leaked"))
			r := launch(t, s, c.edit)
			for _, request := range []string{
				"GET " + portForward + " HTTP/1.1\nHost: localhost" + websocket,
				"POST " + portForward + " HTTP/1.1\nHost: localhost" + spdy,
				"GET /api/v1/pods HTTP/1.1\nHost: localhost",
				"GET /api/v1/pods?watch=1 HTTP/1.1\nHost: localhost",
			} {
				wantStatus(t, r.ask(t, request), 503, "ServiceUnavailable")
			}
			if all := s.Requests(); len(all) != 0 {
				t.Errorf("the server got %d requests, the first %+v", len(all), all[0])
			}
		})
	}
}

// TestParityCertificateTurnsBad changes the certificate of a server that was
// good: an upgrade, which has a connection of its own, must notice.
func TestParityCertificateTurnsBad(t *testing.T) {
	t.Parallel()
	r := parity(t, func(cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = 50 * time.Millisecond
	})
	r.all("GET "+portForward, fakeapi.Upgrade("leaked"))
	r.Servers[0].SetCertificate(fakeapi.OtherCA)
	got := r.ask(t, "GET "+portForward+" HTTP/1.1\nHost: localhost"+websocket)
	wantStatus(t, got, 503, "ServiceUnavailable")
	if n := r.received("GET " + portForward); n != 0 {
		t.Errorf("the server got %d upgrades", n)
	}
}

// TestParityPlainServersGetNoCredential sends a kubeconfig's token to no
// http:// server, as kubectl does not; impersonation and the client's own
// credential pass.
func TestParityPlainServersGetNoCredential(t *testing.T) {
	t.Parallel()
	s := fakeapi.New(t, fakeapi.Options{Plain: true})
	r := start(t, []*fakeapi.Server{s}, editRest(impersonating), editRest(func(c *rest.Config) { c.TLSClientConfig = rest.TLSClientConfig{} }))
	r.all("GET "+portForward, fakeapi.Upgrade("hi"))
	r.all("GET /api/v1/pods", fakeapi.Text(200, "fine"))
	for mark, c := range map[string]struct {
		request, want string
		code          int
	}{
		"plain":   {"GET /api/v1/pods HTTP/1.1\nHost: localhost", "", 200},
		"watch":   {"GET /api/v1/pods?watch=1 HTTP/1.1\nHost: localhost", "", 200},
		"upgrade": {"GET " + portForward + " HTTP/1.1\nHost: localhost" + websocket, "", 101},
		"own":     {"GET /api/v1/pods HTTP/1.1\nHost: localhost\nAuthorization: Bearer mine", "Bearer mine", 200},
	} {
		if got := r.ask(t, c.request+"\n"+markHeader+": "+mark); got.Code != c.code {
			t.Errorf("%s: answer %d %q", mark, got.Code, got.Body)
			continue
		}
		q := r.one(mark)
		if got := q.Header.Get("Authorization"); got != c.want {
			t.Errorf("%s: Authorization %q, want %q", mark, got, c.want)
		}
		if q.Header.Get("Impersonate-User") != "alice" {
			t.Errorf("%s: headers %v, want the impersonation", mark, q.Header)
		}
	}
	for _, q := range s.Requests() {
		if strings.Contains(q.Header.Get("Authorization"), testToken) {
			t.Errorf("%s %s carried the kubeconfig's token in clear text", q.Method, q.Target)
		}
	}
}

// connectProxy is an HTTP proxy that makes tunnels (RFC 9110, section 9.3.6).
type connectProxy struct {
	*httptest.Server
	auth    string       // what each CONNECT has to present; "": nothing
	tunnels atomic.Int64 // made so far
	refused atomic.Int64
	wg      sync.WaitGroup
}

func newConnectProxy(t testing.TB, user *url.Userinfo) *connectProxy {
	p := &connectProxy{}
	if user != nil {
		password, _ := user.Password()
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user.Username(), password)
		p.auth = r.Header.Get("Authorization")
	}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
		p.wg.Wait()
	})
	return p
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || p.auth != r.Header.Get("Proxy-Authorization") {
		p.refused.Add(1)
		http.Error(w, "no tunnel", http.StatusProxyAuthRequired)
		return
	}
	p.wg.Add(1)
	defer p.wg.Done()
	up, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	p.tunnels.Add(1)
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() {
		up.Close()
		down.Close()
	})
	defer stop()
	_, _ = io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n")
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(up, buffered); cancel() }) // either side's end ends both
	both.Go(func() { _, _ = io.Copy(down, up); cancel() })
	both.Wait()
}

// TestParityProxyURL sends everything through the kubeconfig's proxy-url,
// upgrades too: kubectl proxy dials those directly.
func TestParityProxyURL(t *testing.T) {
	t.Parallel()
	for name, user := range map[string]*url.Userinfo{"open": nil, "with a password": url.UserPassword("me", "proxy-secret")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			via := newConnectProxy(t, user)
			u, err := url.Parse(via.URL)
			if err != nil {
				t.Fatal(err)
			}
			u.User = user
			r := parity(t, editRest(func(c *rest.Config) { c.Proxy = http.ProxyURL(u) }))
			r.all("GET "+portForward, fakeapi.Upgrade("hi"))
			for mark, request := range map[string]string{
				"plain":   "GET /api/v1/pods HTTP/1.1\nHost: localhost",
				"watch":   "GET /api/v1/pods?watch=1 HTTP/1.1\nHost: localhost",
				"upgrade": "GET " + portForward + " HTTP/1.1\nHost: localhost" + websocket,
			} {
				before := via.tunnels.Load()
				if got := r.ask(t, request+"\n"+markHeader+": "+mark); got.Code != 200 && got.Code != 101 {
					t.Fatalf("%s: answer %d %q", mark, got.Code, got.Body)
				}
				if q := r.one(mark); q.Header.Get("Proxy-Authorization") != "" || q.Header.Get("Authorization") != "Bearer "+testToken {
					t.Errorf("%s: headers %v", mark, q.Header)
				}
				if made := via.tunnels.Load() - before; mark == "upgrade" && made < 1 {
					t.Error("no tunnel was made for the upgrade")
				}
			}
			if _, accepted := r.Servers[0].Connections(); accepted > via.tunnels.Load() {
				t.Errorf("the server accepted %d connections, and only %d came through the proxy", accepted, via.tunnels.Load())
			}
			if n := via.refused.Load(); n != 0 {
				t.Errorf("%d requests to the proxy were refused", n)
			}
			for _, e := range r.Logs.All() {
				if text := e.Message + " " + string(mustJSON(t, e.ContextMap())); strings.Contains(text, "proxy-secret") {
					t.Errorf("the proxy's password is in the log: %s", text)
				}
			}
		})
	}
}
