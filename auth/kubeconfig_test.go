package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

func TestLeaseOfEachKindOfUser(t *testing.T) {
	ca := newAuthority(t)
	certPEM, keyPEM := ca.issue(t, "alice", time.Now().Add(time.Hour))
	f := newFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{}))
	tokenFile := f.put("token", " from-file\n")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p:x"))
	tls := rest.TLSClientConfig{CertData: certPEM, KeyData: keyPEM}

	for name, c := range map[string]struct {
		config      rest.Config
		want        string
		certificate bool
	}{
		"token":                                   {rest.Config{BearerToken: "t"}, "Bearer t", false},
		"token with white space around it":        {rest.Config{BearerToken: " t\n"}, "Bearer t", false},
		"token file":                              {rest.Config{BearerTokenFile: tokenFile}, "Bearer from-file", false},
		"the file wins over the token":            {rest.Config{BearerToken: "t", BearerTokenFile: tokenFile}, "Bearer from-file", false},
		"the token, when its file cannot be read": {rest.Config{BearerToken: "t", BearerTokenFile: tokenFile + "x"}, "Bearer t", false},
		"user name and password":                  {rest.Config{Username: "u", Password: "p:x"}, basic, false},
		"user info of the URL":                    {rest.Config{Host: "https://u:p%3Ax@127.0.0.1"}, basic, false},
		"a token wins over user info":             {rest.Config{Host: "https://u:p@127.0.0.1", BearerToken: "t"}, "Bearer t", false},
		"client certificate":                      {rest.Config{TLSClientConfig: tls}, "", true},
		"token and client certificate":            {rest.Config{BearerToken: "t", TLSClientConfig: tls}, "Bearer t", true},
		"a certificate wins over an exec plugin":  {rest.Config{TLSClientConfig: tls, ExecProvider: &clientcmdapi.ExecConfig{Command: "/none"}}, "", true},
		"no plugin is run for an http server":     {rest.Config{Host: "http://127.0.0.1", ExecProvider: &clientcmdapi.ExecConfig{Command: "/none"}}, "", false},
		"nobody":                                  {rest.Config{}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.config.Host == "" {
				c.config.Host = "https://127.0.0.1"
			}
			k, err := open(t, &c.config)
			if err != nil {
				t.Fatal(err)
			}
			l, err := k.Lease(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Authorization().Reveal(); got != c.want || (l.certificate != nil) != c.certificate {
				t.Errorf("Authorization = %q, certificate %t, want %q, %t", got, l.certificate != nil, c.want, c.certificate)
			}
			if l.EndpointGeneration() != k.Endpoint().Generation {
				t.Errorf("endpoint generation = %d, want %d", l.EndpointGeneration(), k.Endpoint().Generation)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	exec := func(change func(*clientcmdapi.ExecConfig)) *clientcmdapi.ExecConfig {
		c := &clientcmdapi.ExecConfig{Command: "x", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
		change(c)
		return c
	}
	for want, c := range map[string]rest.Config{
		"both a token and a user name":                 {BearerToken: "t", Username: "u"},
		"both exec and auth-provider":                  {ExecProvider: &clientcmdapi.ExecConfig{}, AuthProvider: &clientcmdapi.AuthProviderConfig{}},
		"a space or a control character":               {BearerToken: canary + "\r\nX: y"},
		"it is empty":                                  {BearerToken: "  "},
		"no such file or directory":                    {BearerTokenFile: "/nonexistent/token"},
		"needs a user to impersonate":                  {Impersonate: rest.ImpersonationConfig{Groups: []string{"g"}}},
		"cannot be sent as a header":                   {Impersonate: rest.ImpersonationConfig{UserName: "a\nb"}},
		`invalid apiVersion "v0"`:                      {ExecProvider: exec(func(c *clientcmdapi.ExecConfig) { c.APIVersion = "v0" })},
		"the command is missing":                       {ExecProvider: exec(func(c *clientcmdapi.ExecConfig) { c.Command = "" })},
		`unknown interactiveMode: ""`:                  {ExecProvider: exec(func(c *clientcmdapi.ExecConfig) { c.InteractiveMode = "" })},
		"invalid plugin policy":                        {ExecProvider: exec(func(c *clientcmdapi.ExecConfig) { c.PluginPolicy.PolicyType = "Sometimes" })},
		"auth-provider oidc: its settings are refused": {AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "oidc"}},
		"auth-provider gcp: its settings are refused":  {AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "gcp"}},
	} {
		c.Host = "https://127.0.0.1"
		if _, err := open(t, &c); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("error = %v, want %q in it", err, want)
		}
	}
	if _, err := OpenKubeconfig(KubeconfigOptions{}); err == nil {
		t.Error("OpenKubeconfig without Load must fail")
	}
	f := newFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{}))
	f.remove("config")
	if _, err := OpenKubeconfig(f.options()); err == nil || !strings.Contains(err.Error(), f.path) {
		t.Errorf("error = %v, want the missing file named", err)
	}
}

func TestImpersonationOfTheKubeconfig(t *testing.T) {
	f := openFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "t", Impersonate: "alice", ImpersonateGroups: []string{"dev"}}))
	l, err := f.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if impersonated(l) != "alice" {
		t.Errorf("the impersonated user is %q", impersonated(l))
	}
	f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "t", Impersonate: "alice", ImpersonateGroups: []string{"dev", "ops"}}))
	f.reloadNow()
	again, err := f.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dst := map[string][]string{}
	Rebuild(dst, nil, again, RebuildOptions{})
	want := map[string][]string{"Authorization": {"Bearer t"}, "Impersonate-User": {"alice"}, "Impersonate-Group": {"dev", "ops"}}
	if diff := cmp.Diff(want, dst); diff != "" {
		t.Errorf("headers after the change (-want +got):\n%s", diff)
	}
}

func TestLeaseSaysAsWhomItCalls(t *testing.T) {
	for name, c := range map[string]struct{ user, want Impersonation }{
		"nobody": {},
		"a user": {Impersonation{User: "alice"}, Impersonation{User: "alice"}},
		"all of it": {
			Impersonation{User: "alice", UID: "1", Groups: []string{"a", "b"}, Extra: map[string][]string{"Example.org/Tea%m": {"x", "y"}}},
			Impersonation{User: "alice", UID: "1", Groups: []string{"a", "b"}, Extra: map[string][]string{"example.org/tea%m": {"x", "y"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := openFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{
				Token: "t", Impersonate: c.user.User, ImpersonateUID: c.user.UID, ImpersonateGroups: c.user.Groups, ImpersonateUserExtra: c.user.Extra,
			}))
			l, err := f.Lease(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			as := l.As()
			if nobody := name == "nobody"; nobody != (as == nil) {
				t.Fatalf("as %+v", as)
			}
			if diff := cmp.Diff(c.want, Impersonation{User: as.User(), UID: as.UID(), Groups: as.Groups(), Extra: as.Extra()}); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestRunTakesUpAChangedKubeconfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "one"}))
		var changes []*Endpoint
		f.OnChange(func(e *Endpoint) { changes = append(changes, e) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		tick := func() { advance(pollInterval) }

		tick()
		if f.token() != "Bearer one" || len(changes) != 0 {
			t.Fatalf("token %q, %d changes before any change", f.token(), len(changes))
		}
		f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "two"}))
		tick()
		if f.token() != "Bearer two" || len(changes) != 0 {
			t.Errorf("after a new token: token %q, %d endpoint changes, want two and none", f.token(), len(changes))
		}
		f.write(kubeconfig("https://127.0.0.2:6443", clientcmdapi.AuthInfo{Token: "two"}))
		tick()
		if len(changes) != 1 || changes[0] != f.Endpoint() || changes[0].Generation != 2 || changes[0].URL.Host != "127.0.0.2:6443" {
			t.Errorf("after a new server: changes %v", changes)
		}
		l, err := f.Lease(ctx)
		if err != nil || l.EndpointGeneration() != 2 {
			t.Errorf("the lease belongs to endpoint %d (%v), want 2", l.EndpointGeneration(), err)
		}
		if diff := cmp.Diff([]string{"prod ok"}, f.refreshed()); diff != "" {
			t.Errorf("OnRefresh (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestBrokenKubeconfigKeepsTheLastOneWithOneWarning(t *testing.T) {
	good := kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: canary})
	for name, breakIt := range map[string]func(*fixture){
		"half written":   func(f *fixture) { f.put("config", "apiVersion: v1\nclusters: ["+canary) },
		"a bare secret":  func(f *fixture) { f.put("config", canary) },
		"empty":          func(f *fixture) { f.put("config", "") },
		"gone":           func(f *fixture) { f.remove("config") },
		"no context":     func(f *fixture) { f.put("config", "current-context: "+canary) },
		"no such server": func(f *fixture) { f.write(kubeconfig("127.0.0.1:1"+canary, clientcmdapi.AuthInfo{Token: "x"})) },
	} {
		t.Run(name, func(t *testing.T) {
			f := openFixture(t, good)
			before := f.Endpoint()
			breakIt(f)
			for range 3 {
				f.reloadNow()
			}
			if f.token() != "Bearer "+canary || f.Endpoint() != before {
				t.Errorf("token %q, endpoint %v: want the last ones", f.token(), f.Endpoint().URL)
			}
			if n := f.logs.FilterLevelExact(1).Len(); n != 1 {
				t.Errorf("%d warnings, want one", n)
			}
			if diff := cmp.Diff([]string{"prod error"}, f.refreshed()); diff != "" {
				t.Errorf("OnRefresh (-want +got):\n%s", diff)
			}
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "repaired"}))
			f.reloadNow()
			if f.token() != "Bearer repaired" {
				t.Errorf("token after the repair = %q", f.token())
			}
			for _, e := range f.logs.All() {
				if line := fmt.Sprintf("%s %v", e.Message, e.ContextMap()); strings.Contains(line, canary) {
					t.Errorf("the log quotes the file: %s", line)
				}
			}
		})
	}
}

func TestMissingKubeconfigDoesNotMeanLocalhost(t *testing.T) {
	for name, breakIt := range map[string]func(*fixture){
		"empty": func(f *fixture) { f.put("config", "") },
		"gone":  func(f *fixture) { f.remove("config") },
	} {
		f := newFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "t"}))
		o := f.options()
		o.Load = func() (*rest.Config, error) { // as kubectl without --kubeconfig: a missing file is no error
			return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
				&clientcmd.ClientConfigLoadingRules{Precedence: []string{f.path}},
				&clientcmd.ConfigOverrides{ClusterDefaults: clientcmdapi.Cluster{Server: "http://localhost:8080"}}).ClientConfig()
		}
		k, err := OpenKubeconfig(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		f.Kubeconfig = k
		breakIt(f)
		f.reloadNow()
		if got := f.Endpoint().URL.Host; got != "127.0.0.1" || f.token() != "Bearer t" {
			t.Errorf("%s: the endpoint is %s, want the last one", name, got)
		}
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	f := newFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{}))
	path := f.put("token", "one")
	f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{TokenFile: path}))
	k, err := OpenKubeconfig(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f.Kubeconfig = k

	f.put("token", "two")
	f.reloadNow()
	if got := f.token(); got != "Bearer two" {
		t.Errorf("token = %q, want two", got)
	}
	f.put("config", "{broken")
	f.put("token", "three")
	f.reloadNow()
	if got := f.token(); got != "Bearer three" {
		t.Errorf("token beside a broken kubeconfig = %q, want three", got)
	}
}

func TestVanishedTokenFileIsUsedForAMinuteMore(t *testing.T) {
	opaque := func() string { return "opaque" }
	expiring := func(in time.Duration) func() string { return func() string { return jwt(time.Now().Add(in)) } }
	for name, c := range map[string]struct {
		token func() string
		holds time.Duration
	}{
		"a token that names no expiry": {opaque, tokenFileGrace},
		"a JWT that expires sooner":    {expiring(20 * time.Second), 20 * time.Second},
		"a JWT that expires later":     {expiring(time.Hour), tokenFileGrace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{}))
				token := c.token()
				path := f.put("token", token)
				f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{TokenFile: path}))
				k, err := OpenKubeconfig(f.options())
				if err != nil {
					t.Fatal(err)
				}
				defer k.Close()
				f.Kubeconfig = k
				f.remove("token")
				f.reloadNow()
				advance(c.holds - time.Millisecond)
				f.reloadNow() // does not start the minute again
				if got := f.token(); got != "Bearer "+token {
					t.Errorf("just before the end: %q", got)
				}
				advance(time.Millisecond)
				_, err = f.Lease(t.Context())
				if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), token) {
					t.Errorf("error after the end = %v, want the file named", err)
				}
				if _, err := f.Refused(t.Context(), nil); err == nil {
					t.Error("Refused found a credential that is not there")
				}
				f.put("token", "back")
				f.reloadNow()
				if got := f.token(); got != "Bearer back" {
					t.Errorf("after the file came back: %q", got)
				}
			})
		})
	}
}

func TestClientCertificateFilesAreReadAgain(t *testing.T) {
	ca := newAuthority(t)
	f := newFixture(t, kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{}))
	put := func(cn string, notAfter time.Time) (certFile, keyFile string) {
		certPEM, keyPEM := ca.issue(t, cn, notAfter)
		return f.put("cert", string(certPEM)), f.put("key", string(keyPEM))
	}
	firstExpiry := time.Now().Add(time.Hour).Truncate(time.Second)
	certFile, keyFile := put("first", firstExpiry)
	f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{ClientCertificate: certFile, ClientKey: keyFile}))
	k, err := OpenKubeconfig(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f.Kubeconfig = k
	var changed []*Endpoint
	f.OnChange(func(e *Endpoint) { changed = append(changed, e) })
	old, err := f.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	other, _ := ca.issue(t, "other", firstExpiry)
	f.put("cert", string(other)) // the key is still the old one
	f.reloadNow()
	if len(changed) != 0 {
		t.Error("a certificate without its key was taken up")
	}
	put("second", firstExpiry.Add(time.Hour))
	newer, err := f.Refused(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if len(changed) != 1 || newer.EndpointGeneration() != changed[0].Generation {
		t.Fatalf("changes %d, lease of endpoint %d", len(changed), newer.EndpointGeneration())
	}
	cert, err := changed[0].TLS.GetClientCertificate(nil)
	if err != nil || cert.Leaf.Subject.CommonName != "second" {
		t.Errorf("certificate = %v, %v", cert.Leaf.Subject, err)
	}
	want := []time.Time{firstExpiry, firstExpiry.Add(time.Hour)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.expiries) != 2 || !f.expiries[0].Equal(want[0]) || !f.expiries[1].Equal(want[1]) {
		t.Errorf("OnExpiry = %v, want %v", f.expiries, want)
	}
}
