package doctor

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

func TestAHealthyCluster(t *testing.T) {
	a := fakeapi.New(t, fakeapi.Options{})
	b := fakeapi.New(t, fakeapi.Options{CA: a.CA})
	c := fakeapi.New(t, fakeapi.Options{CA: a.CA})
	a.SetEndpoints(a.Addr, c.Addr)
	a.Handle("GET /readyz", fakeapi.Token(canary, fakeapi.Text(200, "ok")))
	cluster := served(a, nil)
	cluster.Servers = []string{b.URL, a.URL}
	// The authority's certificates hold for a day, which is short.
	want := `ok kubeconfig of cluster prod
ok credential of cluster prod
ok tcp of cluster prod, A
warning tls of cluster prod, A
ok clock of cluster prod, A
ok readyz of cluster prod, A
ok tcp of cluster prod, B
warning tls of cluster prod, B
ok clock of cluster prod, B
ok readyz of cluster prod, B
ok discovery of cluster prod
ok api-groups of cluster prod
ok tcp of cluster prod, C
warning tls of cluster prod, C
ok clock of cluster prod, C
ok readyz of cluster prod, C
`
	for range 3 { // in the same order each time
		if d := gocmp.Diff(want, short(examine(t, cluster), a.Addr, "A", b.Addr, "B", c.Addr, "C")); d != "" {
			t.Error(d)
		}
	}
}

// Of each trouble the one finding that matters: it names the check, and what to
// do.
func TestTroubleWithAServer(t *testing.T) {
	for name, tc := range map[string]struct {
		options  fakeapi.Options
		trouble  func(t *testing.T, s *fakeapi.Server)
		change   func(*rest.Config)
		check    string
		verdict  Verdict
		text, do string
		within   time.Duration // default: plenty
	}{
		"its process has ended":                         {trouble: func(_ *testing.T, s *fakeapi.Server) { s.Down() }, check: "tcp", verdict: Failed, text: "connection refused", do: "nothing listens there"},
		"it is frozen":                                  {trouble: func(_ *testing.T, s *fakeapi.Server) { s.SetFault(fakeapi.HangHandshake) }, check: "readyz", verdict: Failed, text: "no answer", do: "frozen or overloaded", within: 2 * time.Second},
		"its certificate is of another authority":       {trouble: certificate(fakeapi.OtherCA), check: "tls", verdict: Failed, text: "cannot be verified", do: "is it this cluster's server?"},
		"its certificate is for another name":           {trouble: certificate(fakeapi.WrongName), check: "tls", verdict: Failed, text: "is another one's", do: "use a name that it has ("},
		"its certificate has expired":                   {trouble: certificate(fakeapi.Expired), check: "tls", verdict: Failed, text: "is not valid now", do: "renew it"},
		"it speaks no TLS":                              {options: fakeapi.Options{Plain: true}, change: func(r *rest.Config) { r.Host = "https" + strings.TrimPrefix(r.Host, "http") }, check: "tls", verdict: Failed, text: "does not speak TLS", do: "is it the API server's port"},
		"it is not ready":                               {trouble: func(_ *testing.T, s *fakeapi.Server) { s.FailReadyz("etcd") }, check: "readyz", verdict: Failed, text: "not ready (500): etcd", do: "etcd"},
		"it refuses the credential":                     {trouble: answers("GET /readyz", 401), check: "readyz", verdict: Failed, text: "refuses the credential", do: "renew the credential"},
		"it does not let the credential ask":            {trouble: answers("GET /readyz", 403), check: "readyz", verdict: Warning, text: "may not ask (403)", do: "system:public-info-viewer"},
		"it is a gateway without readyz":                {trouble: answers("GET /readyz", 404), check: "readyz", verdict: Warning, text: "there is no /readyz", do: "healthCheck.path"},
		"it does not let anonymous ask":                 {trouble: answers("GET /readyz", 401), change: func(r *rest.Config) { r.BearerToken = "" }, check: "readyz", verdict: Warning, text: "may not ask (401)", do: "system:public-info-viewer"},
		"its clock is an hour behind":                   {trouble: clock(-time.Hour), check: "clock", verdict: Failed, text: "its clock is 59m behind this host's", do: "NTP"},
		"its clock is half a minute ahead":              {trouble: clock(30 * time.Second), check: "clock", verdict: Warning, text: "s ahead of this host's", do: "NTP"},
		"a second of difference is rounding":            {trouble: clock(-time.Second), check: "clock", verdict: OK, text: "agrees"},
		"its name is not known":                         {change: func(r *rest.Config) { r.Host = "https://none.invalid:6443" }, check: "dns", verdict: Failed, text: "none.invalid cannot be resolved", do: "resolver"},
		"its certificate is not verified":               {change: insecure, check: "kubeconfig", verdict: Warning, text: "not verified", do: "certificate-authority-data"},
		"it is reached without TLS":                     {options: fakeapi.Options{Plain: true}, change: func(r *rest.Config) { r.CAData = nil }, check: "kubeconfig", verdict: Warning, text: "is not encrypted", do: "use https"},
		"the user has no credential":                    {change: func(r *rest.Config) { r.BearerToken = "" }, check: "credential", verdict: Warning, text: "anonymous", do: "give the kubeconfig a user"},
		"API groups are forbidden":                      {trouble: answers("GET /apis", 403), check: "api-groups", verdict: Warning, text: "may not ask for them (403)", do: "system:discovery"},
		"API groups are none":                           {trouble: answers("GET /apis", 200), check: "api-groups", verdict: Warning, text: "not a list of groups", do: "is it an API server?"},
		"endpoints are forbidden":                       {trouble: answers("GET "+slicesPath, 403), check: "discovery", verdict: Warning, text: "does not say which API servers it has (403)", do: "discovery.mode"},
		"endpoints are none":                            {trouble: answers("GET "+slicesPath, 200), check: "discovery", verdict: Warning, text: "EndpointSlices", do: "discovery.mode"},
		"the cluster names a server nobody can reach":   {trouble: func(_ *testing.T, s *fakeapi.Server) { s.SetEndpoints("127.0.0.1:1") }, check: "tcp", verdict: Warning, text: "connection refused", do: "nothing listens there"},
		"the egress proxy is away":                      {change: via("http://user:" + canary + "@127.0.0.1:1"), check: "tcp", verdict: Failed, text: "127.0.0.1:1", do: "nothing listens there"},
		"the client certificate is not the authority's": {change: func(r *rest.Config) { r.CertData, r.KeyData = []byte("none"), []byte("none") }, check: "kubeconfig", verdict: Failed, text: "PEM", do: "kubectl config view"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fakeapi.New(t, tc.options)
			if tc.trouble != nil {
				tc.trouble(t, s)
			}
			cluster := served(s, tc.change)
			f := first(t, examineWithin(t, cmp.Or(tc.within, plenty), cluster), tc.check)
			if f.Verdict != tc.verdict || !strings.Contains(f.Text, tc.text) || !strings.Contains(f.Do, tc.do) {
				t.Errorf("%+v, want %s with %q and %q", f, tc.verdict, tc.text, tc.do)
			}
		})
	}
}

const slicesPath = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

func certificate(kind fakeapi.Certificate) func(*testing.T, *fakeapi.Server) {
	return func(_ *testing.T, s *fakeapi.Server) { s.SetCertificate(kind) }
}

func answers(pattern string, code int) func(*testing.T, *fakeapi.Server) {
	return func(_ *testing.T, s *fakeapi.Server) { s.Handle(pattern, fakeapi.Text(code, "{}")) }
}

func clock(skew time.Duration) func(*testing.T, *fakeapi.Server) {
	return func(_ *testing.T, s *fakeapi.Server) {
		s.Handle("GET /readyz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
		}))
	}
}

func insecure(r *rest.Config) {
	r.CAData = nil
	r.Insecure = true
}

func via(proxy string) func(*rest.Config) {
	return func(r *rest.Config) {
		r.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
	}
}

func TestAKubeconfigThatCannotBeUsed(t *testing.T) {
	broken := config.DefaultCluster("prod", config.Connection{Load: func() (*rest.Config, error) { return nil, errors.New("there is no context \"prod\"") }})
	found := examine(t, broken)
	if d := gocmp.Diff("failed kubeconfig of cluster prod\n", short(found)); d != "" {
		t.Errorf("%s, want nothing else to be examined", d)
	}
}

// A server that takes a connection and then says something else.
func TestARefusedHandshake(t *testing.T) {
	s := fakeapi.New(t, fakeapi.Options{})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
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
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 42}) // an alert: bad certificate
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	cluster := served(s, func(r *rest.Config) { r.Host = "https://" + l.Addr().String() })
	if f := first(t, examine(t, cluster), "tls"); f.Verdict != Failed || !strings.Contains(f.Do, "client certificate") {
		t.Errorf("%+v, want the client certificate to be suspected", f)
	}
}

func TestACertificateThatLasts(t *testing.T) {
	s := fakeapi.New(t, fakeapi.Options{})
	d := &doctor{options: Options{Timeout: plenty}, now: func() time.Time { return time.Now().Add(-30 * 24 * time.Hour) }}
	f := &findings{of: "x"}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM)
	c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state := c.(*tls.Conn).ConnectionState()
	d.certificate(f, &site{endpoint: &auth.Endpoint{}}, &server{id: s.Addr}, &state)
	if f.list[0].Verdict != OK || !strings.Contains(f.list[0].Text, "expires in 3") {
		t.Errorf("%+v, want that it lasts", f.list)
	}
}

func FuzzFailing(f *testing.F) {
	f.Add([]byte("[+]ping ok\n[-]etcd failed: reason withheld\n[-]é"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if text := failing(body); len(text) > 1000 || !utf8.ValidString(text) && utf8.Valid(body) || strings.ContainsAny(text, "\n") {
			t.Errorf("%q", text)
		}
	})
}
