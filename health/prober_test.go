package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// apiServer is a TLS server on loopback.
type apiServer struct {
	*httptest.Server
	dials atomic.Int32
}

func serve(t *testing.T, config *tls.Config, h http.HandlerFunc) *apiServer {
	t.Helper()
	s := &apiServer{Server: httptest.NewUnstartedServer(h)}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.dials.Add(1)
		}
	}
	if config == nil {
		s.Start()
	} else {
		s.TLS = config
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) target(t *testing.T, prefix string) Target {
	t.Helper()
	u, err := url.Parse(s.URL + prefix)
	if err != nil {
		t.Fatal(err)
	}
	return Target{ID: "a", URL: u}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// prober closes its connections at the end of the test.
func prober(t *testing.T, opts HTTPProberOptions) *HTTPProber {
	t.Helper()
	p := NewHTTPProber(opts)
	t.Cleanup(func() { p.Forget("a") })
	return p
}

func trust(c *tls.Config) HTTPProberOptions {
	return HTTPProberOptions{TLS: func(Target) *tls.Config { return c }}
}

const redBody = `[+]ping ok
[+]log ok
[-]etcd failed: reason withheld
[-]poststarthook/rbac/bootstrap-roles failed: reason withheld
readyz check failed
`

func TestProbeReadsTheAnswer(t *testing.T) {
	for _, test := range []struct {
		name       string
		code       int
		body       string
		credential bool
		kind       ResultKind
		reason     string
		checks     []string
	}{
		{name: "ok", code: 200, body: "ok", kind: Pass, reason: "/readyz passes"},
		{name: "failing checks", code: 500, body: redBody, kind: NotReady, checks: []string{"etcd", "poststarthook/rbac/bootstrap-roles"}, reason: "readyz check [etcd poststarthook/rbac/bootstrap-roles] failed"},
		{name: "shutting down", code: 429, body: "The apiserver is shutting down", kind: NotReady, reason: "/readyz answers HTTP 429"},
		{name: "not set up", code: 503, kind: NotReady, reason: "/readyz answers HTTP 503"},
		{name: "a login page", code: 302, kind: NotReady, reason: "/readyz answers HTTP 302"},
		{name: "forbidden", code: 403, kind: Pass, reason: "readyz forbidden, treated as ready"},
		{name: "not found", code: 404, kind: Pass, reason: "readyz not found (a gateway?), treated as ready"},
		{name: "credential refused", code: 401, credential: true, kind: Credential, reason: "API server refuses the probe's credential"},
		{name: "no credential", code: 401, kind: Pass, reason: "readyz needs a credential and the probe has none, treated as ready"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, nil, status(test.code, test.body))
			var opts HTTPProberOptions
			if test.credential {
				opts.Authorize = func(_ context.Context, _ Target, h http.Header) error { h.Set("Authorization", "Bearer t"); return nil }
			}
			got := prober(t, opts).Probe(t.Context(), s.target(t, ""), "/readyz", false)
			if got.Kind != test.kind || got.Code != test.code || got.Reason("/readyz") != test.reason {
				t.Errorf("got %s, %d, %q; want %s, %d, %q", got.Kind, got.Code, got.Reason("/readyz"), test.kind, test.code, test.reason)
			}
			if diff := cmp.Diff(test.checks, got.FailedChecks); diff != "" {
				t.Errorf("failed checks (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProbeSendsWhatAnAPIServerNeeds(t *testing.T) {
	seen := make(chan *http.Request, 1)
	s := serve(t, nil, func(_ http.ResponseWriter, r *http.Request) { seen <- r })
	p := prober(t, HTTPProberOptions{
		UserAgent: "kuberelay-health/v1",
		Authorize: func(_ context.Context, _ Target, h http.Header) error {
			h.Set("Authorization", "Bearer t")
			h.Set("Impersonate-User", "u")
			return nil
		},
	})
	if got := p.Probe(t.Context(), s.target(t, "/k8s/clusters/c-1/"), "/readyz?exclude=etcd", true); got.Kind != Pass {
		t.Fatalf("got %+v", got)
	}
	r := <-seen
	if got, want := r.Method+" "+r.URL.String()+" "+r.Proto, "GET /k8s/clusters/c-1/readyz?exclude=etcd HTTP/1.1"; got != want {
		t.Errorf("request %q, want %q", got, want)
	}
	want := http.Header{"Accept": {"*/*"}, "Authorization": {"Bearer t"}, "Impersonate-User": {"u"}, "User-Agent": {"kuberelay-health/v1"}}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
}

func TestProbeVerifiesTheCertificate(t *testing.T) {
	ca, other := newAuthority(t, "cluster-ca"), newAuthority(t, "other-ca")
	const day = 24 * time.Hour
	for _, test := range []struct {
		name   string
		cert   tls.Certificate
		client *tls.Config
		kind   ResultKind
		reason []string // all of them occur
	}{
		{"good", ca.issue("", -day, day), &tls.Config{RootCAs: ca.pool()}, Pass, []string{"passes"}},
		{"good by tls-server-name", ca.issue("kubernetes", -day, day), &tls.Config{RootCAs: ca.pool(), ServerName: "kubernetes"}, Pass, []string{"passes"}},
		{
			"of another CA", other.issue("", -day, day), &tls.Config{RootCAs: ca.pool()}, Certificate,
			[]string{`"CN=kube-apiserver"`, `"CN=other-ca"`, "not signed by the cluster's CA", "certificate-authority"},
		},
		{
			"of another name", ca.issue("elsewhere", -day, day), &tls.Config{RootCAs: ca.pool()}, Certificate,
			[]string{`"CN=kube-apiserver"`, "is for elsewhere, not for 127.0.0.1", "tls-server-name"},
		},
		{
			"expired", ca.issue("", -day, -time.Hour), &tls.Config{RootCAs: ca.pool()}, Certificate,
			[]string{`"CN=kube-apiserver"`, "expired on 20", "renew it"},
		},
		{
			"not yet valid", ca.issue("", time.Hour, day), &tls.Config{RootCAs: ca.pool()}, Certificate,
			[]string{"is not valid before 20", "clock"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			requests := atomic.Int32{}
			s := serve(t, &tls.Config{Certificates: []tls.Certificate{test.cert}}, func(http.ResponseWriter, *http.Request) { requests.Add(1) })
			got := prober(t, trust(test.client)).Probe(t.Context(), s.target(t, ""), "/readyz", false)
			if got.Kind != test.kind {
				t.Errorf("got %s, want %s", got.Kind, test.kind)
			}
			reason := got.Reason("/readyz")
			for _, part := range test.reason {
				if !strings.Contains(reason, part) {
					t.Errorf("reason %q lacks %q", reason, part)
				}
			}
			if test.kind == Certificate && requests.Load() != 0 {
				t.Error("a server whose certificate does not verify got a request")
			}
		})
	}
}

func TestProbeClassifiesFailures(t *testing.T) {
	ca := newAuthority(t, "cluster-ca")
	client := trust(&tls.Config{RootCAs: ca.pool()})
	config := func() *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue("", -time.Hour, time.Hour)}}
	}
	for _, test := range []struct {
		name   string
		url    func(t *testing.T) string
		kind   ResultKind
		reason string
	}{
		{"nobody listens", func(t *testing.T) string {
			l := listen(t, nil)
			l.Close()
			return "https://" + l.Addr().String()
		}, Refused, "connection refused"},
		{"a process that hangs before the handshake", func(t *testing.T) string {
			return "https://" + listen(t, func(c net.Conn) { io.Copy(io.Discard, c) }).Addr().String()
		}, Timeout, "accepts TCP, but the TLS handshake does not end in time: the process may hang"},
		{"a process that hangs before its answer", func(t *testing.T) string {
			thaw := make(chan struct{})
			s := serve(t, config(), func(http.ResponseWriter, *http.Request) { <-thaw })
			t.Cleanup(func() { close(thaw) })
			return s.URL
		}, Timeout, "no answer to /readyz in time"},
		{"a process that hangs within its answer", func(t *testing.T) string {
			thaw := make(chan struct{})
			s := serve(t, config(), func(w http.ResponseWriter, _ *http.Request) {
				w.(http.Flusher).Flush()
				<-thaw
			})
			t.Cleanup(func() { close(thaw) })
			return s.URL
		}, Timeout, "answer to /readyz not complete in time"},
		{"a connection that is closed", func(t *testing.T) string {
			return "https://" + listen(t, func(c net.Conn) { c.Read(make([]byte, 16<<10)) }).Addr().String()
		}, Reset, "connection closed before the answer"},
		{"a connection that is closed within the answer", func(t *testing.T) string {
			return "http://" + listen(t, func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")
			}).Addr().String()
		}, Reset, "connection closed before the answer"},
		{"a server without TLS", func(t *testing.T) string {
			return "https" + strings.TrimPrefix(serve(t, nil, status(200, "ok")).URL, "http")
		}, Protocol, "does not speak TLS on this port"},
		{"a server that is no HTTP server", func(t *testing.T) string {
			return "http://" + listen(t, func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "220 mail.example.org ESMTP\r\n")
			}).Addr().String()
		}, Protocol, ""},
		{"a server that wants a client certificate", func(t *testing.T) string {
			c := config()
			c.ClientAuth = tls.RequireAndVerifyClientCert
			c.ClientCAs = ca.pool()
			return serve(t, c, status(200, "ok")).URL
		}, Credential, `API server refuses the probe's credential: TLS alert "tls: certificate required" about the client certificate`},
	} {
		t.Run(test.name, func(t *testing.T) {
			u, err := url.Parse(test.url(t))
			if err != nil {
				t.Fatal(err)
			}
			timeout := 20 * time.Second
			if test.kind == Timeout {
				timeout = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			got := prober(t, client).Probe(ctx, Target{ID: "a", URL: u}, "/readyz", false)
			if got.Kind != test.kind || got.Code != 0 {
				t.Errorf("got %s, %d (%v); want %s", got.Kind, got.Code, got.Err, test.kind)
			}
			if test.reason != "" && got.Reason("/readyz") != test.reason {
				t.Errorf("reason %q, want %q", got.Reason("/readyz"), test.reason)
			}
			if got.Kind == Refused && !errors.Is(got.Err, syscall.ECONNREFUSED) {
				t.Errorf("%#v does not wrap its cause", got.Err)
			}
		})
	}
}

// listen serves each TCP connection by f, then closes it.
func listen(t *testing.T, f func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l
}

func TestADialEndsWithItsProbe(t *testing.T) {
	ended := make(chan error, 1)
	p := prober(t, HTTPProberOptions{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	got := p.Probe(ctx, Target{ID: "a", URL: &url.URL{Scheme: "https", Host: "192.0.2.1:6443"}}, "/readyz", true)
	if got.Kind != Timeout || got.Err.Error() != "no TCP connection in time" {
		t.Errorf("got %s (%v)", got.Kind, got.Err)
	}
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the dial's context ended with %v", err)
	}
}

func TestConnectionsAreKeptUnlessFreshOrReconfigured(t *testing.T) {
	ca := newAuthority(t, "cluster-ca")
	s := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.issue("", -time.Hour, time.Hour)}}, func(w http.ResponseWriter, r *http.Request) {
		if r.TLS.DidResume {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	config := &tls.Config{RootCAs: ca.pool(), ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	p := prober(t, HTTPProberOptions{TLS: func(Target) *tls.Config { return config }})
	for i, step := range []struct {
		name  string
		do    func()
		fresh bool
		dials int32
	}{
		{name: "the first dials", dials: 1},
		{name: "the second does not", dials: 1},
		{name: "a fresh one does", fresh: true, dials: 2},
		{name: "its connection is kept", dials: 2},
		{name: "a rotated certificate dials", do: func() { config = config.Clone() }, dials: 3},
		{name: "and is kept", dials: 3},
		{name: "a forgotten target dials", do: func() { p.Forget("a") }, dials: 4},
	} {
		if step.do != nil {
			step.do()
		}
		if got := p.Probe(t.Context(), s.target(t, ""), "/readyz", step.fresh); got.Kind != Pass {
			t.Fatalf("%d %s: %s (%s)", i, step.name, got.Kind, got.Reason("/readyz"))
		}
		if got := s.dials.Load(); got != step.dials {
			t.Errorf("%d %s: %d connections so far, want %d", i, step.name, got, step.dials)
		}
	}
}

func TestAProbeGoesWithoutACredentialThatCannotBeHad(t *testing.T) {
	noPlugin := errors.New("exec plugin not found")
	s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	for _, test := range []struct {
		name      string
		authorize func(context.Context, Target, http.Header) error
		want      error
	}{
		{"it fails, having set a header", func(_ context.Context, _ Target, h http.Header) error {
			h.Set("Authorization", "Bearer half")
			return noPlugin
		}, noPlugin},
		{"it takes too long", func(ctx context.Context, _ Target, _ http.Header) error {
			<-ctx.Done()
			return ctx.Err()
		}, context.DeadlineExceeded},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			got := prober(t, HTTPProberOptions{Authorize: test.authorize}).Probe(ctx, s.target(t, ""), "/readyz", false)
			if got.Kind != Pass || got.Code != 401 {
				t.Errorf("got %s, %d; want a pass by 401", got.Kind, got.Code)
			}
			if !errors.Is(got.CredentialErr, test.want) {
				t.Errorf("credential error %v, want %v", got.CredentialErr, test.want)
			}
		})
	}
}

func TestA401IsAskedAgainWithANewerCredential(t *testing.T) {
	s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer new" || r.Header.Get("Impersonate-User") != "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	old := func(_ context.Context, _ Target, h http.Header) error {
		h.Set("Authorization", "Bearer old")
		h.Set("Impersonate-User", "u")
		return nil
	}
	for _, test := range []struct {
		name   string
		newer  func(context.Context, Target, http.Header) error
		kind   ResultKind
		credOK bool
	}{
		{"there is one", func(_ context.Context, _ Target, h http.Header) error {
			h.Set("Authorization", "Bearer new")
			return nil
		}, Pass, true},
		{"there is none", func(context.Context, Target, http.Header) error { return errors.New("nothing newer") }, Credential, true},
		{"it is refused too", func(_ context.Context, _ Target, h http.Header) error { h.Set("Authorization", "Bearer x"); return nil }, Credential, true},
		{"it takes too long", func(ctx context.Context, _ Target, _ http.Header) error { <-ctx.Done(); return ctx.Err() }, Pass, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			got := prober(t, HTTPProberOptions{Authorize: old, Reauthorize: test.newer}).Probe(ctx, s.target(t, ""), "/readyz", false)
			if got.Kind != test.kind || (got.CredentialErr == nil) != test.credOK {
				t.Errorf("got %s (credential error %v), want %s", got.Kind, got.CredentialErr, test.kind)
			}
		})
	}
}

func TestProbeTakesTheEgressProxy(t *testing.T) {
	ca := newAuthority(t, "cluster-ca")
	s := serve(t, &tls.Config{Certificates: []tls.Certificate{ca.issue("", -time.Hour, time.Hour)}}, status(200, "ok"))
	var connected atomic.Value
	egress := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		connected.Store(r.Method + " " + r.Host)
		w.WriteHeader(http.StatusBadGateway)
	})
	proxyURL, err := url.Parse(egress.URL)
	if err != nil {
		t.Fatal(err)
	}
	opts := trust(&tls.Config{RootCAs: ca.pool()})
	opts.Proxy = http.ProxyURL(proxyURL)
	got := prober(t, opts).Probe(t.Context(), s.target(t, ""), "/readyz", false)
	if want := "CONNECT " + s.Listener.Addr().String(); connected.Load() != want {
		t.Errorf("the proxy saw %v, want %s", connected.Load(), want)
	}
	if got.Kind != Protocol || got.Reason("/readyz") != "Bad Gateway" {
		t.Errorf("got %s (%s)", got.Kind, got.Reason("/readyz"))
	}
}

func TestALongAnswerIsCut(t *testing.T) {
	s := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for range 200 {
			io.WriteString(w, strings.Repeat("x", 1023)+"\n")
		}
		fmt.Fprintln(w, "[-]late failed: reason withheld")
	})
	got := prober(t, HTTPProberOptions{}).Probe(t.Context(), s.target(t, ""), "/readyz", false)
	if got.Kind != NotReady || got.FailedChecks != nil {
		t.Errorf("got %s with checks %v, want not-ready without", got.Kind, got.FailedChecks)
	}
}

func TestGroupOverRealServers(t *testing.T) {
	var broken atomic.Bool
	s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() && r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, redBody)
		}
	})
	transitions := make(chan Transition, 16)
	g := NewGroup(Config{Interval: 100 * time.Millisecond}, NewHTTPProber(HTTPProberOptions{}), Options{OnTransition: func(tr Transition) { transitions <- tr }})
	target := s.target(t, "")
	target.Initial = Down
	g.Set([]Target{target})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()

	next := func(want State) {
		t.Helper()
		select {
		case tr := <-transitions:
			if tr.To != want {
				t.Fatalf("%s→%s (%s), want %s", tr.From, tr.To, tr.Reason, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no transition to %s", want)
		}
	}
	next(Ready)
	broken.Store(true)
	next(Degraded)
	broken.Store(false)
	next(Ready)
	s.Close()
	next(Suspect)
	next(Down)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
