package daemon_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// crowd writes a configuration file with n clients, each with two kinds of
// evidence and limits of its own.
func crowd(t *testing.T, n int) (path string) {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(brokerToken), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- {name: test, kubeconfig: {path: %s}}
credentials:
- {name: broker, tokenFile: %s}
policies:
- {name: all, rules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"]}]}
listeners:
- {name: tokens, address: "127.0.0.1:0", mode: shared, cluster: test, identify: [uid, bearer]}
clients:
`, fakeapi.New(t, fakeapi.Options{}).Kubeconfig(testToken), token)
	for i := range n {
		fmt.Fprintf(&b, `- name: client-%d
  match:
  - uid: %d
  - tokenSHA256: "%064x"
    expires: 2099-01-01T00:00:00Z
  grants:
  - cluster: test
    credential: broker
    impersonate: {user: client-%[1]d, groups: [dev, ops]}
    policy: all
  limits: {requestsPerSecond: 20, burst: 50}
`, i, i+10_000, i+1)
	}
	path = filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTenThousandClientsAreLoadedSoon: it takes some 0.5 s, and 15 s are for
// the race detector, and for a machine that does something else, too.
func TestTenThousandClientsAreLoadedSoon(t *testing.T) {
	const n, bound = 10_000, 15 * time.Second
	path := crowd(t, n)
	begin := time.Now()
	cfg, err := config.Load(path)
	loaded := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(cfg, daemon.Options{ConfigFile: path, Load: func() (*config.Configuration, error) { return config.Load(path) }})
	built := time.Now()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	t.Logf("%d clients: loaded in %v, built in %v", n, loaded.Sub(begin), built.Sub(loaded))
	if took := built.Sub(begin); took > bound {
		t.Errorf("%v, want %v at most", took, bound)
	}
	if clients := d.Status().Clients; len(clients) != n {
		t.Errorf("%d clients, want %d", len(clients), n)
	}
}
