package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the credential of everything here, which nothing may print.
const canary = "canary-token-that-nothing-prints"

// patience is for steps that are to fail for want of an answer.
const patience = 300 * time.Millisecond

// plenty is for steps that are answered, however busy the machine is.
const plenty = time.Minute

// served is a cluster named prod, as of a command line.
func served(s *fakeapi.Server, change func(*rest.Config)) config.Cluster {
	c := config.DefaultCluster("prod", config.Connection{Load: func() (*rest.Config, error) {
		r := &rest.Config{Host: s.URL, BearerToken: canary, TLSClientConfig: rest.TLSClientConfig{CAData: s.CAPEM}}
		if change != nil {
			change(r)
		}
		return r, nil
	}})
	return c
}

// examine examines clusters as of a command line.
func examine(t *testing.T, clusters ...config.Cluster) []Finding {
	t.Helper()
	return examineWithin(t, plenty, clusters...)
}

// examineWithin is examine with another time for each step.
func examineWithin(t *testing.T, timeout time.Duration, clusters ...config.Cluster) []Finding {
	t.Helper()
	return checked(t, Run(t.Context(), Options{Config: &config.Configuration{Clusters: clusters}, Timeout: timeout}))
}

// checked fails the test if findings break a promise of theirs.
func checked(t *testing.T, found []Finding) []Finding {
	t.Helper()
	for _, f := range found {
		if strings.Contains(fmt.Sprint(f), canary) {
			t.Errorf("the credential is in %+v", f)
		}
		if f.Of == "" || f.Check == "" || f.Text == "" || (f.Do == "") != (f.Verdict == OK) {
			t.Errorf("%+v, want what was examined, a text, and what to do unless it is ok", f)
		}
	}
	return found
}

// short is findings as lines: verdict, check, and what was examined without what
// differs from run to run.
func short(found []Finding, replace ...string) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s of %s\n", f.Verdict, f.Check, f.Of)
	}
	return strings.NewReplacer(replace...).Replace(b.String())
}

// first is the first finding of a check that is not ok, or of all.
func first(t *testing.T, found []Finding, check string) Finding {
	t.Helper()
	var any Finding
	for _, f := range found {
		if f.Check != check {
			continue
		}
		if f.Verdict != OK {
			return f
		}
		if any.Check == "" {
			any = f
		}
	}
	if any.Check == "" {
		t.Fatalf("there is no finding of %s in %+v", check, found)
	}
	return any
}

// write writes a file that only its owner can read.
func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// folder is a configuration file with what it names.
type folder struct {
	t   *testing.T
	dir string
}

func newFolder(t *testing.T, s *fakeapi.Server) *folder {
	f := &folder{t, t.TempDir()}
	write(t, f.path("ca.crt"), string(s.CAPEM))
	write(t, f.path("token"), canary)
	certificate, key := s.CA.ServerCertificate(t)
	write(t, f.path("tls.crt"), string(certificate))
	write(t, f.path("tls.key"), string(key))
	write(t, f.path("kubeconfig"), fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "%s", certificate-authority: ca.crt}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
`, s.URL, canary))
	return f
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

const folderConfig = `apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- {name: prod, kubeconfig: {path: DIR/kubeconfig}}
credentials:
- {name: broker, tokenFile: DIR/token}
policies:
- {name: p, rules: [{verbs: [get], nonResourceURLs: ["*"]}]}
clients:
- {name: alice, match: [{uid: 1001}], grants: [{cluster: prod, credential: broker, policy: p, impersonate: {user: alice, groups: [dev]}}]}
listeners:
- {name: tls, address: "127.0.0.1:0", mode: shared, cluster: prod, identify: [bearer], tls: {certFile: DIR/tls.crt, keyFile: DIR/tls.key}}
- {name: sock, address: "unix://DIR/api.sock", mode: shared, cluster: prod, identify: [uid]}
admin: {controlSocket: DIR/admin.sock}
audit: {file: DIR/audit.jsonl}
stateFile: DIR/state.json
`

// examine examines the configuration, with replacements in pairs.
func (f *folder) examine(replace ...string) []Finding {
	f.t.Helper()
	text := strings.NewReplacer(append(replace, "DIR", f.dir)...).Replace(folderConfig)
	return f.examineFile(write(f.t, f.path("config.yaml"), strings.ReplaceAll(text, "DIR", f.dir)))
}

func (f *folder) examineFile(path string) []Finding {
	f.t.Helper()
	return checked(f.t, Run(f.t.Context(), Options{File: path, Version: "v1", Timeout: plenty}))
}
