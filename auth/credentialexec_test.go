package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// pluginExec is a credential whose plugin is this test binary.
func pluginExec(mode string, env map[string]string) *ExecConfig {
	c := &ExecConfig{Command: os.Args[0], Env: map[string]string{}}
	for _, variable := range pluginUser(mode, env).Exec.Env {
		c.Env[variable.Name] = variable.Value
	}
	return c
}

// bearer is a plugin's answer with a token that holds an hour.
func bearer(t *testing.T, token string) string {
	t.Helper()
	return answer(t, &clientauthenticationv1.ExecCredentialStatus{Token: token, ExpirationTimestamp: &metav1.Time{Time: time.Now().Add(time.Hour)}})
}

// seen returns what a plugin in mode "look" was given.
func (f *credentialFixture) seen() []string {
	f.t.Helper()
	raw, err := os.ReadFile(filepath.Join(f.dir, "seen"))
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.Split(string(raw), "\n")
}

// onTerminal lets this process look as if somebody had started it by hand.
func onTerminal(t *testing.T) {
	t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	stdin, stderr := os.Stdin, os.Stderr
	os.Stdin, os.Stderr = pty, pty
	t.Cleanup(func() {
		os.Stdin, os.Stderr = stdin, stderr
		_ = pty.Close()
	})
	if tty := processTerminal(); !tty.stdinTTY || !tty.stderrTTY {
		t.Fatal("a pseudo-terminal is no terminal here")
	}
}

func TestExecCredentialRunsWithoutWhatIsTheDaemons(t *testing.T) {
	for _, name := range []string{"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"} {
		t.Setenv(name, "daemon")
	}
	t.Setenv("KUBERELAY_TEST_INHERITED", "yes")
	onTerminal(t)
	for name, config := range map[string]func(f *credentialFixture, env map[string]string) CredentialConfig{
		"exec": func(_ *credentialFixture, env map[string]string) CredentialConfig {
			return CredentialConfig{Exec: pluginExec("look", env)}
		},
		"a kubeconfig's exec that would like a terminal": func(f *credentialFixture, env map[string]string) CredentialConfig {
			user := pluginUser("look", env)
			user.Exec.InteractiveMode = clientcmdapi.IfAvailableExecInteractiveMode
			f.write(kubeconfig("https://127.0.0.1", user))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newCredentialFixture(t)
			f.open(config(f, map[string]string{
				pluginOutEnv: f.put("out", bearer(t, "tok")), pluginSeenEnv: filepath.Join(f.dir, "seen"), "WATCHDOG_EXTRA": "configured",
			}))
			if got := f.token(); got != "Bearer tok" {
				t.Errorf("token = %q", got)
			}
			var got []string
			for _, line := range f.seen() {
				for _, prefix := range []string{"NOTIFY_", "LISTEN_", "WATCHDOG_", "CREDENTIALS_", "KUBERELAY_TEST_INHERITED", "KUBERNETES_EXEC_INFO", "stdin"} {
					if strings.HasPrefix(line, prefix) {
						got = append(got, line)
					}
				}
			}
			want := []string{
				"KUBERELAY_TEST_INHERITED=yes",
				`KUBERNETES_EXEC_INFO={"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`,
				"WATCHDOG_EXTRA=configured",
				"stdin=0 bytes",
			}
			if diff := cmp.Diff(want, sorted(got)); diff != "" {
				t.Errorf("what the plugin got (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKubeconfigCredentialTellsThePluginItsCluster(t *testing.T) {
	f := newCredentialFixture(t)
	user := pluginUser("look", map[string]string{pluginOutEnv: f.put("out", bearer(t, "tok")), pluginSeenEnv: filepath.Join(f.dir, "seen")})
	user.Exec.ProvideClusterInfo = true
	f.write(kubeconfig("https://10.0.0.1:6443", user))
	f.open(CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}})
	f.token()
	if seen := strings.Join(f.seen(), "\n"); !strings.Contains(seen, `"cluster":{"server":"https://10.0.0.1:6443"`) {
		t.Errorf("the plugin was told %s", seen)
	}
}

func TestPluginThatNeedsATerminalIsRefused(t *testing.T) {
	onTerminal(t)
	f := newCredentialFixture(t)
	user := pluginUser("look", map[string]string{pluginSeenEnv: filepath.Join(f.dir, "seen")})
	user.Exec.InteractiveMode = clientcmdapi.AlwaysExecInteractiveMode
	f.write(kubeconfig("https://127.0.0.1", user))
	f.open(CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}})
	_, err := f.Credential.Lease(t.Context())
	if err == nil || !strings.Contains(err.Error(), "it needs a terminal (interactiveMode: Always)") {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "seen")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was run: %v", err)
	}
}

func TestHungPluginIsKilledAndHurtsOnlyItsOwnWaiters(t *testing.T) {
	// The plugin and its child hold a lock; the fixture of the other tests of
	// plugins has the FIFOs by which we learn that they do.
	held, p, ready := holder(t, "hang")
	env := map[string]string{}
	for _, variable := range p.config.Env {
		env[variable.Name] = variable.Value
	}
	hung := newCredentialFixture(t)
	exec := pluginExec("hang", env)
	exec.Timeout = 5 * time.Second
	hung.open(CredentialConfig{Name: "hung", Exec: exec})
	other := newCredentialFixture(t)
	other.open(CredentialConfig{Name: "other", Exec: pluginExec("print", map[string]string{pluginOutEnv: other.put("out", bearer(t, "tok"))})})

	waiters := make(chan error, 10)
	for range cap(waiters) {
		go func() {
			_, err := hung.Credential.Lease(context.Background())
			waiters <- err
		}()
	}
	ready()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hung.Credential.Lease(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter that gives up gets %v", err)
	}
	if got := other.token(); got != "Bearer tok" {
		t.Errorf("the other credential: %q", got)
	}
	for range cap(waiters) {
		if err := <-waiters; err == nil || !strings.Contains(err.Error(), "it was stopped: no answer within 5s") {
			t.Errorf("a waiter got %v", err)
		}
	}
	awaitUnlocked(t, held)
}

func TestExecCertificateIsTheLeases(t *testing.T) {
	ca := newAuthority(t)
	f := newCredentialFixture(t)
	expiry := time.Now().Add(time.Hour).Truncate(time.Second)
	issue := func(cn string) string {
		certPEM, keyPEM := ca.issue(t, cn, expiry)
		return f.put("out", answer(t, &clientauthenticationv1.ExecCredentialStatus{ClientCertificateData: string(certPEM), ClientKeyData: string(keyPEM)}))
	}
	f.open(CredentialConfig{Exec: pluginExec("print", map[string]string{pluginOutEnv: issue("first")})})
	first := f.must()
	issue("second")
	second, err := f.Refused(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if first.TLSIdentity().IsZero() || second.TLSIdentity() == first.TLSIdentity() {
		t.Error("two certificates have the same identity, or none")
	}
	if got := second.Certificate().Leaf.Subject.CommonName; got != "second" || !second.Authorization().IsEmpty() {
		t.Errorf("certificate of %q, Authorization empty: %t", got, second.Authorization().IsEmpty())
	}
	if got := second.validity.until.Sub(expiry); got != -daemonLeeway {
		t.Errorf("handed out until %s after its expiry, want 30s before", got)
	}
}

// TestDaemonsPace holds what a daemon's credentials have other than a person's
// own process: leeway before expiry, and backoff.
func TestDaemonsPace(t *testing.T) {
	withSource := func(t *testing.T, p *fakePlugin, test func(t *testing.T, f *credentialFixture)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			f := newCredentialFixture(t)
			f.open(CredentialConfig{Exec: &ExecConfig{Command: "fake-plugin"}})
			defer f.Credential.Close()
			f.keeper.loaded.source.fetch = p.fetch
			test(t, f)
		})
	}
	t.Run("renewal starts by itself at 80 % of the lifetime, and nobody waits", func(t *testing.T) {
		p := &fakePlugin{takes: time.Second, ttl: time.Hour}
		withSource(t, p, func(t *testing.T, f *credentialFixture) {
			f.token()
			advance(44 * time.Minute)
			f.token()
			synctest.Wait()
			if n := p.runs.Load(); n != 1 {
				t.Fatalf("%d runs after 44 minutes of 60, want 1", n)
			}
			advance(8 * time.Minute)
			asked := time.Now()
			if got := f.token(); got != "Bearer t1" || !time.Now().Equal(asked) {
				t.Errorf("while renewing: %q after %s", got, time.Since(asked))
			}
			advance(time.Second)
			if got := f.token(); got != "Bearer t2" {
				t.Errorf("after the renewal: %q", got)
			}
		})
	})
	for ttl, leeway := range map[time.Duration]time.Duration{time.Hour: 30 * time.Second, time.Minute: 6 * time.Second} {
		t.Run(fmt.Sprintf("a credential that holds %s is kept from the last %s", ttl, leeway), func(t *testing.T) {
			p := &fakePlugin{ttl: ttl}
			withSource(t, p, func(t *testing.T, f *credentialFixture) {
				f.token()
				p.fails.Store(true)
				advance(ttl - leeway - time.Millisecond)
				if got := f.token(); got != "Bearer t1" {
					t.Errorf("just before: %q", got)
				}
				synctest.Wait()
				advance(time.Millisecond)
				if l, err := f.Credential.Lease(t.Context()); err == nil {
					t.Errorf("handed out: %v", l)
				}
			})
		})
	}
	t.Run("failures are spaced by 1 s at first and 60 s in the end", func(t *testing.T) {
		p := &fakePlugin{}
		p.fails.Store(true)
		withSource(t, p, func(t *testing.T, f *credentialFixture) {
			var at []time.Duration
			started := time.Now()
			for before := int32(0); time.Since(started) < 5*time.Minute; advance(500 * time.Millisecond) {
				if _, err := f.Credential.Lease(t.Context()); err == nil {
					t.Fatal("the plugin did not fail")
				}
				if n := p.runs.Load(); n != before {
					before = n
					at = append(at, time.Since(started))
				}
			}
			s := time.Second
			if diff := cmp.Diff([]time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s, 63 * s, 123 * s, 183 * s, 243 * s}, at); diff != "" {
				t.Errorf("runs (-want +got):\n%s", diff)
			}
			if n := f.logs.FilterMessage("credential cannot be had").Len(); n != 1 {
				t.Errorf("%d warnings for one row of failures", n)
			}
		})
	})
}

// TestTwoUsersOfOneIssuerAreNeverMixed is what client-go's auth-provider fails
// (kubernetes/kubernetes#78509): two plugins that differ in nothing but the user.
func TestTwoUsersOfOneIssuerAreNeverMixed(t *testing.T) {
	users := map[string]*credentialFixture{}
	for _, user := range []string{"alice", "bob"} {
		f := newCredentialFixture(t)
		exec := pluginExec("print", map[string]string{pluginOutEnv: f.put("out", bearer(t, user))})
		exec.Args = []string{"get-token", "--oidc-issuer-url=https://issuer.invalid", "--oidc-client-id=kube"}
		f.open(CredentialConfig{Name: user, Exec: exec})
		users[user] = f
	}
	var wg sync.WaitGroup
	for user, f := range users {
		for range 100 {
			wg.Go(func() {
				l, err := f.Credential.Lease(t.Context())
				if err != nil || l.Authorization().Reveal() != "Bearer "+user {
					t.Errorf("%s got another's lease, or none: %v", user, err)
				}
			})
		}
	}
	wg.Wait()
}

// TestNoSecretOfACredentialIsEverShown is TestNoSecretIsEverShown for the
// configuration's credentials, where nobody watches standard error.
func TestNoSecretOfACredentialIsEverShown(t *testing.T) {
	for name, config := range map[string]func(f *credentialFixture) CredentialConfig{
		"token file": func(f *credentialFixture) CredentialConfig {
			return CredentialConfig{TokenFile: f.put("token", canary)}
		},
		"plugin": func(f *credentialFixture) CredentialConfig {
			exec := pluginExec("look", map[string]string{pluginOutEnv: f.put("out", bearer(t, canary)), pluginSeenEnv: filepath.Join(f.dir, "seen"), "SECRET": canary})
			exec.Args = []string{"--secret=" + canary}
			return CredentialConfig{Exec: exec}
		},
		"failing plugin": func(*credentialFixture) CredentialConfig {
			return CredentialConfig{Exec: pluginExec("fail", map[string]string{"SECRET": canary})}
		},
		"kubeconfig": func(f *credentialFixture) CredentialConfig {
			f.write(kubeconfig("https://u:"+canary+"@127.0.0.1", clientcmdapi.AuthInfo{Token: canary}))
			return CredentialConfig{Kubeconfig: &KubeconfigRef{Path: f.path}}
		},
		"service account token": func(f *credentialFixture) CredentialConfig {
			f.post = func(context.Context, string, string, string, []byte) ([]byte, int, error) {
				return tokenAnswer(canary, time.Now().Add(time.Hour)), http.StatusCreated, nil
			}
			return CredentialConfig{ServiceAccountToken: devAccount()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newCredentialFixture(t)
			f.open(config(f))
			var seen []string
			see := func(values ...any) {
				for _, v := range values {
					seen = append(seen, fmt.Sprintf("%v|%+v|%#v|%s|%q", v, v, v, v, v))
					if raw, err := json.Marshal(v); err == nil {
						seen = append(seen, string(raw))
					}
				}
			}
			ask := func() {
				l, err := f.Credential.Lease(t.Context())
				see(l, err, errors.Unwrap(err))
				again, err := f.Refused(t.Context(), l)
				see(again, err, errors.Unwrap(err))
			}
			ask()
			f.put("config", "users: ["+canary)
			f.put("token", canary+" "+canary)
			f.put("out", canary)
			f.keeper.reload(t.Context(), true)
			ask()
			see(f.Credential, f.refreshed())
			for _, e := range f.logs.All() {
				see(e.Message, e.ContextMap())
			}
			if len(seen) < 8 {
				t.Error("the test looks at nothing")
			}
			for _, s := range seen {
				if strings.Contains(s, canary) {
					t.Errorf("shows the secret: %s", s)
				}
			}
		})
	}
}
