package auth

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// credentialFixture is a credential with a directory of its own for its files.
type credentialFixture struct {
	fixture // its directory and what its hooks were told
	*Credential
	post func(ctx context.Context, cluster, credential, path string, body []byte) ([]byte, int, error)
}

func newCredentialFixture(t *testing.T) *credentialFixture {
	t.Helper()
	f := &credentialFixture{fixture: fixture{t: t, dir: t.TempDir()}}
	f.path = filepath.Join(f.dir, "config")
	return f
}

// open opens a credential named eks; its files are the fixture's.
func (f *credentialFixture) open(c CredentialConfig) {
	f.t.Helper()
	if err := f.try(c); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.Credential.Close)
}

func (f *credentialFixture) try(c CredentialConfig) error {
	if c.Name == "" {
		c.Name = "eks"
	}
	core, logs := observer.New(zapcore.DebugLevel)
	f.logs = logs
	hooks := f.options()
	opened, err := OpenCredential(CredentialOptions{
		Config: c, Log: zap.New(core), OnRefresh: hooks.OnRefresh, OnExpiry: hooks.OnExpiry, Post: answered(f.post),
	})
	f.logs = logs
	f.Credential = opened
	return err
}

func (f *credentialFixture) reloadNow() { f.keeper.reload(context.Background(), false) }

// must returns the present lease.
func (f *credentialFixture) must() *Lease {
	f.t.Helper()
	l, err := f.Credential.Lease(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

func (f *credentialFixture) token() string {
	f.t.Helper()
	return f.must().Authorization().Reveal()
}

// issue writes a certificate and its key.
func (f *credentialFixture) issue(ca *authority, cn string, notAfter time.Time) *CertificateFiles {
	f.t.Helper()
	certPEM, keyPEM := ca.issue(f.t, cn, notAfter)
	return &CertificateFiles{CertFile: f.put("cert", string(certPEM)), KeyFile: f.put("key", string(keyPEM))}
}

func TestEachKindOfCredentialIsCarriedByItsLease(t *testing.T) {
	ca := newAuthority(t)
	certificateOf := func(l *Lease) string {
		if l.Certificate() == nil {
			return ""
		}
		return l.Certificate().Leaf.Subject.CommonName
	}
	for name, c := range map[string]struct {
		config        func(f *credentialFixture) CredentialConfig
		authorization string
		certificate   string
		as            string
	}{
		"a token file": {
			config: func(f *credentialFixture) CredentialConfig {
				return CredentialConfig{TokenFile: f.put("token", "tok\n")}
			},
			authorization: "Bearer tok",
		},
		"a client certificate": {
			config: func(f *credentialFixture) CredentialConfig {
				return CredentialConfig{ClientCertificate: f.issue(ca, "alice", time.Now().Add(time.Hour))}
			},
			certificate: "alice",
		},
		"the token of a kubeconfig's user who impersonates": {
			config: func(f *credentialFixture) CredentialConfig {
				f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "kc", Impersonate: "bob"}))
				return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
			},
			authorization: "Bearer kc",
			as:            "bob",
		},
		"the user of another context than the current one": {
			config: func(f *credentialFixture) CredentialConfig {
				config := kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: "current"})
				config.AuthInfos["v"] = &clientcmdapi.AuthInfo{Token: "other"}
				config.Contexts["y"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "v"}
				f.write(config)
				return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path, Context: "y"}}
			},
			authorization: "Bearer other",
		},
		"the certificate of a kubeconfig's user": {
			config: func(f *credentialFixture) CredentialConfig {
				files := f.issue(ca, "carol", time.Now().Add(time.Hour))
				f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{ClientCertificate: files.CertFile, ClientKey: files.KeyFile}))
				return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
			},
			certificate: "carol",
		},
		"a kubeconfig whose cluster cannot be used: it is not": {
			config: func(f *credentialFixture) CredentialConfig {
				config := kubeconfig("http://user:pass@127.0.0.1", clientcmdapi.AuthInfo{Username: "u", Password: "p"})
				config.Clusters["c"].CertificateAuthority = "/nonexistent/ca"
				f.write(config)
				return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
			},
			authorization: "Basic dTpw",
		},
		"a kubeconfig without clusters": {
			config: func(f *credentialFixture) CredentialConfig {
				config := kubeconfig("", clientcmdapi.AuthInfo{Token: "kc"})
				delete(config.Clusters, "c")
				f.write(config)
				return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
			},
			authorization: "Bearer kc",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newCredentialFixture(t)
			f.open(c.config(f))
			l := f.must()
			got := []string{l.Authorization().Reveal(), certificateOf(l), impersonated(l)}
			if diff := cmp.Diff([]string{c.authorization, c.certificate, c.as}, got); diff != "" {
				t.Errorf("authorization, certificate, impersonated user (-want +got):\n%s", diff)
			}
			if l.TLSIdentity().IsZero() != (c.certificate == "") {
				t.Errorf("TLS identity is zero: %t", l.TLSIdentity().IsZero())
			}
			if l.EndpointGeneration() != 0 {
				t.Errorf("lease of endpoint %d, want none", l.EndpointGeneration())
			}
		})
	}
}

func TestCredentialsThatCannotBeOpened(t *testing.T) {
	ca := newAuthority(t)
	for want, config := range map[string]func(f *credentialFixture) CredentialConfig{
		"it has no source: give it one of tokenFile": func(*credentialFixture) CredentialConfig { return CredentialConfig{} },
		"/nonexistent/token: no such file":           func(*credentialFixture) CredentialConfig { return CredentialConfig{TokenFile: "/nonexistent/token"} },
		"token: it is empty":                         func(f *credentialFixture) CredentialConfig { return CredentialConfig{TokenFile: f.put("token", " \n")} },
		"it holds a space or a control character": func(f *credentialFixture) CredentialConfig {
			return CredentialConfig{TokenFile: f.put("token", canary+"\nImpersonate-User: root")}
		},
		"cert: the file is empty": func(f *credentialFixture) CredentialConfig {
			files := f.issue(ca, "alice", time.Now().Add(time.Hour))
			f.put("cert", "")
			return CredentialConfig{ClientCertificate: files}
		},
		"certificate and key are not a valid pair": func(f *credentialFixture) CredentialConfig {
			files := f.issue(ca, "alice", time.Now().Add(time.Hour))
			_, other := ca.issue(f.t, "bob", time.Now().Add(time.Hour))
			f.put("key", string(other))
			return CredentialConfig{ClientCertificate: files}
		},
		"config: no such file": func(f *credentialFixture) CredentialConfig {
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		"config is not a valid kubeconfig: check it with kubectl config view --kubeconfig=": func(f *credentialFixture) CredentialConfig {
			f.put("config", "users: ["+canary)
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		`has no context "nowhere"`: func(f *credentialFixture) CredentialConfig {
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: canary}))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path, Context: "nowhere"}}
		},
		`context "x": there is no user "u"`: func(f *credentialFixture) CredentialConfig {
			config := kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{})
			delete(config.AuthInfos, "u")
			f.write(config)
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		"the context's user has no credential": func(f *credentialFixture) CredentialConfig {
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Impersonate: "root"}))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		"open /nonexistent/cert: no such file": func(f *credentialFixture) CredentialConfig {
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{ClientCertificate: "/nonexistent/cert", ClientKey: "/nonexistent/key"}))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		"more than one authentication method found for u": func(f *credentialFixture) CredentialConfig {
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: canary, Username: "u", Password: canary}))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		`auth-provider "oidc" is refused in a daemon: client-go shares its tokens between users`: func(f *credentialFixture) CredentialConfig {
			f.write(kubeconfig("https://127.0.0.1", oidcUser("https://issuer.invalid", "kube", "", canary)))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		// The cluster is told to the plugin, and its proxy has a password.
		"the cluster's proxy-url is not valid": func(f *credentialFixture) CredentialConfig {
			user := pluginUser("print", nil)
			user.Exec.ProvideClusterInfo = true
			config := kubeconfig("https://127.0.0.1", user)
			config.Clusters["c"].ProxyURL = "ftp://u:" + canary + "@egress"
			f.write(config)
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		"CredentialOptions.Post is missing": func(*credentialFixture) CredentialConfig {
			return CredentialConfig{ServiceAccountToken: &ServiceAccountToken{Credential: "a", Cluster: "b", Namespace: "c", ServiceAccount: "d"}}
		},
	} {
		t.Run(want, func(t *testing.T) {
			f := newCredentialFixture(t)
			err := f.try(config(f))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `credential "eks": `) {
				t.Fatalf("error = %v, want the credential's name and %q in it", err, want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

func TestRotatedFilesGiveANewLease(t *testing.T) {
	t.Run("of a token", func(t *testing.T) {
		f := newCredentialFixture(t)
		f.open(CredentialConfig{TokenFile: f.put("token", "one")})
		before := f.must()
		f.put("token", "two")
		f.reloadNow()
		after := f.must()
		if got := after.Authorization().Reveal(); got != "Bearer two" || after.Generation() <= before.Generation() {
			t.Errorf("token %q, generation %d after %d", got, after.Generation(), before.Generation())
		}
		if after.TLSIdentity() != before.TLSIdentity() {
			t.Error("bearer tokens share connections")
		}
		if diff := cmp.Diff([]string{"eks ok"}, f.refreshed()); diff != "" {
			t.Errorf("OnRefresh (-want +got):\n%s", diff)
		}
	})
	for name, wrap := range map[string]func(*credentialFixture, *CertificateFiles) CredentialConfig{
		"of a certificate": func(_ *credentialFixture, files *CertificateFiles) CredentialConfig {
			return CredentialConfig{ClientCertificate: files}
		},
		"of a certificate that a kubeconfig names": func(f *credentialFixture, files *CertificateFiles) CredentialConfig {
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{ClientCertificate: files.CertFile, ClientKey: files.KeyFile}))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ca := newAuthority(t)
			f := newCredentialFixture(t)
			expiry := time.Now().Add(time.Hour).Truncate(time.Second)
			f.open(wrap(f, f.issue(ca, "first", expiry)))
			first := f.must()

			other, _ := ca.issue(t, "other", expiry)
			f.put("cert", string(other)) // the key is still the old one
			f.reloadNow()
			if f.must() != first {
				t.Error("a certificate without its key was taken up")
			}
			if n := f.logs.FilterMessage("credential source cannot be read again, the last one stays in use").Len(); n != 1 {
				t.Errorf("%d warnings about the pair", n)
			}
			f.issue(ca, "second", expiry.Add(time.Hour))
			f.reloadNow()
			second := f.must()
			if second.TLSIdentity() == first.TLSIdentity() || second.Certificate().Leaf.Subject.CommonName != "second" {
				t.Errorf("certificate of %q with another identity: %t", second.Certificate().Leaf.Subject.CommonName, second.TLSIdentity() != first.TLSIdentity())
			}
			if !second.Expiry().Equal(expiry.Add(time.Hour)) {
				t.Errorf("lease expires at %s", second.Expiry())
			}
			if diff := cmp.Diff([]time.Time{expiry, expiry.Add(time.Hour)}, f.expiries, cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Errorf("OnExpiry (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"eks error", "eks ok"}, f.refreshed()); diff != "" {
				t.Errorf("OnRefresh (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunSeesAChangedFileWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newCredentialFixture(t)
		f.open(CredentialConfig{TokenFile: f.put("token", "one")})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f.put("token", "two")
		advance(2 * time.Second)
		if got := f.token(); got != "Bearer two" {
			t.Errorf("token = %q, want two", got)
		}
		cancel()
		running.Wait()
	})
}

// TestCredentialFailsClosed holds how long a credential is handed out after its
// files are gone, and that it comes back with them.
func TestCredentialFailsClosed(t *testing.T) {
	ca := newAuthority(t)
	for name, open := range map[string]func(f *credentialFixture) []string{
		"a token file": func(f *credentialFixture) []string {
			f.open(CredentialConfig{TokenFile: f.put("token", canary)})
			return []string{"token"}
		},
		"a certificate's key": func(f *credentialFixture) []string {
			f.open(CredentialConfig{ClientCertificate: f.issue(ca, canary, time.Now().Add(time.Hour))})
			return []string{"key"}
		},
		"a kubeconfig": func(f *credentialFixture) []string {
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: canary}))
			f.open(CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}})
			return []string{"config"}
		},
		"a kubeconfig with a plugin": func(f *credentialFixture) []string {
			f.write(kubeconfig("https://127.0.0.1", fakeExec))
			f.open(CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}})
			f.keeper.mu.Lock()
			defer f.keeper.mu.Unlock()
			f.keeper.loaded.source.fetch = (&fakePlugin{token: canary, ttl: time.Hour}).fetch
			return []string{"config"}
		},
	} {
		for how, remove := range map[string]func(f *credentialFixture, file string){
			"gone":  func(f *credentialFixture, file string) { f.remove(file) },
			"empty": func(f *credentialFixture, file string) { f.put(file, "") },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newCredentialFixture(t)
					files := open(f)
					defer f.Credential.Close()
					before := f.must()
					contents := map[string]string{}
					for _, file := range files {
						raw, err := os.ReadFile(filepath.Join(f.dir, file))
						if err != nil {
							t.Fatal(err)
						}
						contents[file] = string(raw)
						remove(f, file)
					}
					f.reloadNow()
					advance(tokenFileGrace - time.Millisecond)
					f.reloadNow() // does not start the minute again
					if !f.must().same(before) {
						t.Error("just before the end: another credential")
					}
					advance(time.Millisecond)
					l, err := f.Credential.Lease(t.Context())
					var unavailable *UnavailableError
					if !errors.As(err, &unavailable) || l != nil {
						t.Fatalf("after the grace time: %v, %v", l, err)
					}
					if !strings.HasPrefix(err.Error(), `credential "eks": `) || strings.Contains(err.Error(), canary) {
						t.Errorf("error = %v", err)
					}
					for file, content := range contents {
						f.put(file, content)
					}
					f.reloadNow()
					if !f.must().same(before) {
						t.Error("the same credential must come back with its files")
					}
					if results := f.refreshed(); results[len(results)-1] != "eks ok" {
						t.Errorf("OnRefresh was told %q last", results)
					}
				})
			})
		}
	}
}

func TestNothingIsHandedOutPastItsOwnExpiry(t *testing.T) {
	ca := newAuthority(t)
	for name, config := range map[string]func(f *credentialFixture, expiry time.Time) CredentialConfig{
		"a JWT in a file": func(f *credentialFixture, expiry time.Time) CredentialConfig {
			return CredentialConfig{TokenFile: f.put("token", jwt(expiry))}
		},
		"a client certificate": func(f *credentialFixture, expiry time.Time) CredentialConfig {
			return CredentialConfig{ClientCertificate: f.issue(ca, "alice", expiry)}
		},
		"a JWT in a kubeconfig": func(f *credentialFixture, expiry time.Time) CredentialConfig {
			f.write(kubeconfig("https://127.0.0.1", clientcmdapi.AuthInfo{Token: jwt(expiry)}))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newCredentialFixture(t)
				f.open(config(f, time.Now().Add(time.Minute)))
				defer f.Credential.Close()
				advance(time.Minute - time.Second)
				if l := f.must(); !l.Expiry().Equal(time.Now().Add(time.Second)) {
					t.Errorf("the lease expires at %s, in %s", l.Expiry(), time.Until(l.Expiry()))
				}
				advance(time.Second)
				if _, err := f.Credential.Lease(t.Context()); err == nil || !strings.Contains(err.Error(), "it expired at ") {
					t.Errorf("error = %v, want when it expired", err)
				}
				next := config(f, time.Now().Add(time.Hour))
				f.reloadNow()
				if l := f.must(); time.Until(l.Expiry()) < 59*time.Minute {
					t.Errorf("%+v expires in %s", next, time.Until(l.Expiry()))
				}
			})
		})
	}
}

func TestRefusedCredentialOfTheConfigurationIsReadAgain(t *testing.T) {
	f := newCredentialFixture(t)
	f.open(CredentialConfig{TokenFile: f.put("token", "one")})
	first := f.must()
	if _, err := f.Refused(t.Context(), first); !errors.Is(err, ErrNoNewerCredential) {
		t.Errorf("with nothing new: %v", err)
	}
	f.keeper.nextRefusal = time.Time{}
	f.put("token", "two")
	second, err := f.Refused(t.Context(), first)
	if err != nil || second.Authorization().Reveal() != "Bearer two" {
		t.Errorf("Refused = %v, %v", second, err)
	}
	dst := http.Header{}
	Rebuild(dst, nil, second, RebuildOptions{})
	if got := dst.Get("Authorization"); got != "Bearer two" {
		t.Errorf("Authorization = %q", got)
	}
}

// answered turns what a test answers into an [Answer].
func answered(post func(ctx context.Context, cluster, credential, path string, body []byte) ([]byte, int, error)) func(context.Context, string, string, string, []byte) (Answer, error) {
	if post == nil {
		return nil
	}
	return func(ctx context.Context, cluster, credential, path string, body []byte) (Answer, error) {
		answer, status, err := post(ctx, cluster, credential, path, body)
		return Answer{Body: answer, Status: status, Generation: 7}, err
	}
}
