package auth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// answer is a plugin's output with that status.
func answer(t *testing.T, status *clientauthenticationv1.ExecCredentialStatus) string {
	t.Helper()
	raw, err := json.Marshal(clientauthenticationv1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: "client.authentication.k8s.io/v1", Kind: "ExecCredential"},
		Status:   status,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// openPlugin opens a kubeconfig with this binary as plugin, printing the file out.
func openPlugin(t *testing.T, out string) *fixture {
	t.Helper()
	f := newFixture(t, clientcmdapi.NewConfig())
	f.write(kubeconfig("https://127.0.0.1", pluginUser("print", map[string]string{
		pluginOutEnv: f.put("out", out), pluginRunsEnv: filepath.Join(f.dir, "runs"),
	})))
	k, err := OpenKubeconfig(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f.Kubeconfig = k
	return f
}

// runs returns KUBERNETES_EXEC_INFO of every run of the plugin.
func (f *fixture) runs() []string {
	raw, err := os.ReadFile(filepath.Join(f.dir, "runs"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.t.Fatal(err)
	}
	return strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' })
}

func TestPluginIsRunAtFirstNeedAndOnceForAll(t *testing.T) {
	f := openPlugin(t, answer(t, &clientauthenticationv1.ExecCredentialStatus{Token: "tok", ExpirationTimestamp: &metav1.Time{Time: time.Now().Add(time.Hour)}}))
	if n := len(f.runs()); n != 0 {
		t.Fatalf("%d runs when it was opened, want none", n)
	}
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			l, err := f.Lease(t.Context())
			if err != nil || l.Authorization().Reveal() != "Bearer tok" {
				t.Errorf("Lease = %v, %v", l, err)
			}
		})
	}
	wg.Wait()
	runs := f.runs()
	if len(runs) != 1 {
		t.Fatalf("%d runs for 1000 callers, want 1", len(runs))
	}
	if want := `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`; runs[0] != want {
		t.Errorf("KUBERNETES_EXEC_INFO = %s, want %s", runs[0], want)
	}

	// A kubeconfig that says the same does not run it again, another one does.
	f.reload(t.Context(), true)
	f.token()
	if n := len(f.runs()); n != 1 {
		t.Errorf("%d runs after reading the same kubeconfig, want 1", n)
	}
	user := pluginUser("print", map[string]string{pluginOutEnv: filepath.Join(f.dir, "out"), pluginRunsEnv: filepath.Join(f.dir, "runs")})
	user.Exec.Args = []string{"other"}
	user.Exec.ProvideClusterInfo = true
	f.write(kubeconfig("https://127.0.0.1", user))
	f.reloadNow()
	f.token()
	runs = f.runs()
	if len(runs) != 2 || !strings.Contains(runs[1], `"cluster":{"server":"https://127.0.0.1"`) {
		t.Errorf("runs = %q, want a second one with the cluster", runs)
	}
}

func TestPluginAnswersThatAreRefused(t *testing.T) {
	ca := newAuthority(t)
	certPEM, keyPEM := ca.issue(t, "alice", time.Now().Add(time.Hour))
	oldPEM, oldKey := ca.issue(t, "old", time.Now().Add(-time.Minute))
	_, otherKey := ca.issue(t, "other", time.Now().Add(time.Hour))
	status := func(s clientauthenticationv1.ExecCredentialStatus) string { return answer(t, &s) }
	for want, out := range map[string]string{
		"not an ExecCredential":          canary,
		"(0 bytes) is not an":            "",
		"not an ExecCredential of":       `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"` + canary + `"}}`,
		"didn't return a status":         answer(t, nil),
		"returned version":               strings.ReplaceAll(status(clientauthenticationv1.ExecCredentialStatus{Token: canary}), "k8s.io/v1", "k8s.io/v1beta1"),
		"a token or cert/key pair":       status(clientauthenticationv1.ExecCredentialStatus{}),
		"only certificate or key":        status(clientauthenticationv1.ExecCredentialStatus{ClientCertificateData: string(certPEM)}),
		"not a valid pair":               status(clientauthenticationv1.ExecCredentialStatus{ClientCertificateData: string(certPEM), ClientKeyData: string(otherKey)}),
		"certificate that expired at":    status(clientauthenticationv1.ExecCredentialStatus{ClientCertificateData: string(oldPEM), ClientKeyData: string(oldKey)}),
		"it is empty":                    status(clientauthenticationv1.ExecCredentialStatus{Token: " \n"}),
		"a space or a control character": status(clientauthenticationv1.ExecCredentialStatus{Token: canary + "\r\nImpersonate-User: root"}),
		"credential that expired at":     status(clientauthenticationv1.ExecCredentialStatus{Token: canary, ExpirationTimestamp: &metav1.Time{Time: time.Now().Add(-time.Hour)}}),
	} {
		f := openPlugin(t, out)
		_, err := f.Lease(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `credential "prod": exec plugin `) {
			t.Errorf("error = %v, want %q in it", err, want)
		}
		if err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), string(keyPEM[40:60])) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("the error quotes the output: %v", err)
		}
	}
}

func TestPluginThatFailsIsNamedButNotQuoted(t *testing.T) {
	for want, user := range map[string]clientcmdapi.AuthInfo{
		"exit code 3: run it by hand to see why":     pluginUser("fail", nil),
		fmt.Sprintf("larger than %d", maxExecOutput): pluginUser("flood", nil),
		"it is not installed: get it from example":   {Exec: &clientcmdapi.ExecConfig{Command: "/nonexistent/plugin", InstallHint: "get it\n  from example"}},
		"it is not installed, or its directory":      {Exec: &clientcmdapi.ExecConfig{Command: "no-such-plugin-anywhere"}},
		"it cannot be run":                           {Exec: &clientcmdapi.ExecConfig{Command: os.TempDir()}},
	} {
		user.Exec.APIVersion = "client.authentication.k8s.io/v1beta1"
		user.Exec.InteractiveMode = clientcmdapi.NeverExecInteractiveMode
		f := openFixture(t, kubeconfig("https://127.0.0.1", user))
		_, err := f.Lease(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("error = %v, want %q in it", err, want)
		}
		if n := f.logs.FilterMessage("credential cannot be had").Len(); n != 1 {
			t.Errorf("%d warnings", n)
		}
	}
}

func TestPluginPolicy(t *testing.T) {
	f := openPlugin(t, answer(t, &clientauthenticationv1.ExecCredentialStatus{Token: "tok"}))
	for name, c := range map[string]struct {
		policy clientcmdapi.PluginPolicy
		allow  bool
	}{
		"allow all":          {clientcmdapi.PluginPolicy{PolicyType: clientcmdapi.PluginPolicyAllowAll}, true},
		"deny all":           {clientcmdapi.PluginPolicy{PolicyType: clientcmdapi.PluginPolicyDenyAll}, false},
		"listed":             {clientcmdapi.PluginPolicy{PolicyType: clientcmdapi.PluginPolicyAllowlist, Allowlist: []clientcmdapi.AllowlistEntry{{Command: "/x/y"}, {Command: os.Args[0]}}}, true},
		"same name, not it":  {clientcmdapi.PluginPolicy{PolicyType: clientcmdapi.PluginPolicyAllowlist, Allowlist: []clientcmdapi.AllowlistEntry{{Command: "/x/" + filepath.Base(os.Args[0])}}}, false},
		"another one listed": {clientcmdapi.PluginPolicy{PolicyType: clientcmdapi.PluginPolicyAllowlist, Allowlist: []clientcmdapi.AllowlistEntry{{Command: "aws"}}}, false},
	} {
		p := &execPlugin{config: f.execConfig(), info: map[bool]string{}, group: clientauthenticationv1.SchemeGroupVersion}
		p.config.PluginPolicy = c.policy
		_, err := p.fetch(t.Context())
		if (err == nil) != c.allow || err != nil && !strings.Contains(err.Error(), "it is not allowed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// execConfig loads the fixture's plugin settings.
func (f *fixture) execConfig() *clientcmdapi.ExecConfig {
	f.t.Helper()
	c, err := f.options().Load()
	if err != nil {
		f.t.Fatal(err)
	}
	return c.ExecProvider
}

func TestInteractivePlugin(t *testing.T) {
	f := openPlugin(t, answer(t, &clientauthenticationv1.ExecCredentialStatus{Token: "tok"}))
	for name, c := range map[string]struct {
		mode       clientcmdapi.ExecInteractiveMode
		tty, inUse bool
		want       bool
		err        string
	}{
		"never":                             {clientcmdapi.NeverExecInteractiveMode, true, false, false, ""},
		"if available, on a terminal":       {clientcmdapi.IfAvailableExecInteractiveMode, true, false, true, ""},
		"if available, without":             {clientcmdapi.IfAvailableExecInteractiveMode, false, false, false, ""},
		"if available, standard input used": {clientcmdapi.IfAvailableExecInteractiveMode, true, true, false, ""},
		"always, on a terminal":             {clientcmdapi.AlwaysExecInteractiveMode, true, false, true, ""},
		"always, without":                   {clientcmdapi.AlwaysExecInteractiveMode, false, false, false, "it needs a terminal"},
		"always, standard input used":       {clientcmdapi.AlwaysExecInteractiveMode, true, true, false, "which is in use"},
	} {
		config := f.execConfig()
		config.InteractiveMode, config.StdinUnavailable = c.mode, c.inUse
		p := &execPlugin{config: config, info: map[bool]string{true: "yes", false: "no"}, group: clientauthenticationv1.SchemeGroupVersion, tty: terminal{stdinTTY: c.tty}}
		before := len(f.runs())
		_, err := p.fetch(t.Context())
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || len(f.runs()) != before {
				t.Errorf("%s: error = %v, %d runs, want %q and none", name, err, len(f.runs())-before, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		runs := f.runs()
		if got := runs[len(runs)-1]; got != p.info[c.want] {
			t.Errorf("%s: told that interactive is %s, want %s", name, got, p.info[c.want])
		}
	}
}

func TestPluginErrorOutputGoesToATerminalOnly(t *testing.T) {
	f := openFixture(t, kubeconfig("https://127.0.0.1", pluginUser("fail", nil)))
	for _, tty := range []bool{true, false} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p := &execPlugin{config: f.execConfig(), group: clientauthenticationv1.SchemeGroupVersion, tty: terminal{stderr: w, stderrTTY: tty}}
		if _, err := p.fetch(t.Context()); err == nil {
			t.Error("the plugin did not fail")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var shown bytes.Buffer
		if _, err := shown.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(shown.String(), canary); got != tty {
			t.Errorf("on a terminal %t: standard error shown is %t (%q)", tty, got, shown.String())
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// holder prepares a plugin whose child holds a lock and the plugin's output.
// It returns a function that waits until the child has it.
func holder(t *testing.T, mode string) (f *fixture, p *execPlugin, ready func()) {
	t.Helper()
	f = openPlugin(t, answer(t, &clientauthenticationv1.ExecCredentialStatus{Token: "tok"}))
	fifo := filepath.Join(f.dir, "ready")
	for _, path := range []string{fifo, fifo + ".end"} {
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Read and write: opening does not wait for the other side.
	r, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	user := pluginUser(mode, map[string]string{
		pluginOutEnv: filepath.Join(f.dir, "out"), pluginLockEnv: filepath.Join(f.dir, "lock"), pluginReadyEnv: fifo,
	})
	p = &execPlugin{config: user.Exec, group: clientauthenticationv1.SchemeGroupVersion}
	return f, p, func() {
		if err := r.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitUnlocked waits until nobody holds the child's lock.
func awaitUnlocked(t *testing.T, f *fixture) {
	t.Helper()
	lock, err := os.Open(filepath.Join(f.dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	free := make(chan error, 1)
	go func() { free <- syscall.Flock(int(lock.Fd()), syscall.LOCK_EX) }()
	select {
	case err := <-free:
		if err := errors.Join(err, lock.Close()); err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the plugin's child lives on")
	}
}

func TestHangingPluginIsKilledWithItsChildren(t *testing.T) {
	f, p, ready := holder(t, "hang")
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := p.fetch(ctx)
		failed <- err
	}()
	ready()
	cancel(errors.New("no answer within 1m0s"))
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "it was stopped: no answer within 1m0s") {
		t.Errorf("error = %v", err)
	}
	awaitUnlocked(t, f)
}

func TestPluginThatLeavesAChildBehindIsNotWaitedFor(t *testing.T) {
	f, p, ready := holder(t, "linger")
	c, err := p.fetch(t.Context())
	if err != nil || c.authorization.Reveal() != "Bearer tok" {
		t.Errorf("fetch = %v, want the token", err)
	}
	ready()
	end, err := os.OpenFile(filepath.Join(f.dir, "ready.end"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := end.WriteString("end\n"); err != nil {
		t.Fatal(err)
	}
	awaitUnlocked(t, f)
	if err := end.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPluginCertificateIsPresentedAndRotated(t *testing.T) {
	ca := newAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			fmt.Fprint(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}
	}))
	server.TLS = ca.server(t)
	server.StartTLS()
	defer server.Close()

	f := newFixture(t, clientcmdapi.NewConfig())
	issue := func(cn string) string {
		certPEM, keyPEM := ca.issue(t, cn, time.Now().Add(time.Hour))
		return f.put("out", answer(t, &clientauthenticationv1.ExecCredentialStatus{ClientCertificateData: string(certPEM), ClientKeyData: string(keyPEM)}))
	}
	config := kubeconfig(server.URL, pluginUser("print", map[string]string{pluginOutEnv: issue("first")}))
	config.Clusters["c"].CertificateAuthorityData = ca.pem
	f.write(config)
	k, err := OpenKubeconfig(f.options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	f.Kubeconfig = k
	var changes []uint64
	f.OnChange(func(e *Endpoint) { changes = append(changes, e.Generation) })

	who := func(c *tls.Config) string {
		transport := &http.Transport{TLSClientConfig: c.Clone()}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return body.String()
	}
	before := f.Endpoint()
	first, err := f.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := who(f.Endpoint().TLS); got != "first" || who(before.TLS) != "" {
		t.Errorf("the server sees %q, before the first run %q", got, who(before.TLS))
	}
	if !first.Authorization().IsEmpty() || !Rebuild(http.Header{}, nil, first, RebuildOptions{}) {
		t.Error("the lease must have no Authorization and count as injected")
	}
	if first.validity.renewAt.IsZero() || !first.validity.until.IsZero() {
		t.Errorf("validity = %+v, want a renewal before the certificate expires, and no end", first.validity)
	}
	issue("second")
	second, err := f.Refused(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if got := who(f.Endpoint().TLS); got != "second" {
		t.Errorf("the server sees %q after the rotation", got)
	}
	if len(changes) != 2 || second.EndpointGeneration() != changes[1] || f.Endpoint().Generation != changes[1] {
		t.Errorf("changes %v, lease of endpoint %d", changes, second.EndpointGeneration())
	}
}
