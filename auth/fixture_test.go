package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// fixture is a kubeconfig in a directory of its own, opened.
type fixture struct {
	t    *testing.T
	dir  string
	path string
	*Kubeconfig
	logs *observer.ObservedLogs

	mu        sync.Mutex
	refreshes []string
	expiries  []time.Time
}

// kubeconfig returns a configuration with one cluster, user and context.
func kubeconfig(server string, user clientcmdapi.AuthInfo) *clientcmdapi.Config {
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: server}
	c.AuthInfos["u"] = &user
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"
	return c
}

func openFixture(t *testing.T, c *clientcmdapi.Config) *fixture {
	t.Helper()
	f := newFixture(t, c)
	k, err := OpenKubeconfig(f.options())
	if err != nil {
		t.Fatal(err)
	}
	f.Kubeconfig = k
	t.Cleanup(k.Close)
	return f
}

func newFixture(t *testing.T, c *clientcmdapi.Config) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.path = filepath.Join(f.dir, "config")
	f.write(c)
	return f
}

func (f *fixture) options() KubeconfigOptions {
	core, logs := observer.New(zapcore.DebugLevel)
	f.logs = logs
	return KubeconfigOptions{
		Load: func() (*rest.Config, error) {
			return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
				&clientcmd.ClientConfigLoadingRules{ExplicitPath: f.path}, &clientcmd.ConfigOverrides{}).ClientConfig()
		},
		Files: func() []string { return []string{f.path} },
		Log:   zap.New(core),
		Name:  "prod",
		OnRefresh: func(credential, result string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refreshes = append(f.refreshes, credential+" "+result)
		},
		OnExpiry: func(_ string, at time.Time) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.expiries = append(f.expiries, at)
		},
	}
}

// write replaces the kubeconfig, by renaming as careful tools do.
func (f *fixture) write(c *clientcmdapi.Config) {
	f.t.Helper()
	raw, err := clientcmd.Write(*c)
	if err != nil {
		f.t.Fatal(err)
	}
	f.put("config", string(raw))
}

// put replaces a file of the directory.
func (f *fixture) put(name, content string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *fixture) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

// token returns the present lease's token.
func (f *fixture) token() string {
	f.t.Helper()
	l, err := f.Lease(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	return l.Authorization().Reveal()
}

func (f *fixture) reloadNow() { f.reload(context.Background(), false) }

func (f *fixture) refreshed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.refreshes...)
}

// fakeExec is a user with a plugin that is never run: see replaceFetch.
var fakeExec = clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
	Command: "fake-plugin", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
}}

// replaceFetch makes fetch the plugin of k's user.
func (f *fixture) replaceFetch(fetch func(context.Context) (*credential, error)) {
	f.Kubeconfig.mu.Lock()
	defer f.Kubeconfig.mu.Unlock()
	f.loaded.source.fetch = fetch
}

// advance moves the clock of a synctest bubble and lets everything settle.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// jwt returns an unsigned token that expires at exp.
func jwt(exp time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(fmt.Appendf(nil, `{"exp":%d}`, exp.Unix())) + ".sig"
}

// impersonated is the user that requests with the lease are made as, "" for
// none.
func impersonated(l *Lease) string {
	if h := l.carried(); len(h.impersonation) > 0 {
		return h.impersonation[0].values[0]
	}
	return ""
}
