package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// setup is what a test configures `kuberelay serve` with: entries of the
// configuration's lists, a line each.
type setup struct {
	credentials, policies, clients, listeners []string

	cluster   string   // its entry; default: all servers, as they are
	upstreams []string // the servers' names in kuberelay's status; default: their addresses
	admin     string   // address; default 127.0.0.1:0
	gossip    string   // section; default: none
	launcher  []string // a command that runs the one that follows; default: none
	program   string   // path; default: kuberelay as it is
}

// The policies of the tests. RBAC allows each of alice and bob something else.
const (
	readerPolicy = `{name: reader, rules: [{verbs: [get, list, watch], apiGroups: ["*"], resources: ["*"]}, ` +
		`{verbs: [get], nonResourceURLs: [/version, /api, /api/*, /apis, /apis/*, /openapi/*]}]}`
	shellPolicy = `{name: shell, rules: [{verbs: [get, list, watch], apiGroups: ["*"], resources: ["*"]}, ` +
		`{verbs: [create], apiGroups: [""], resources: [pods/exec]}, ` +
		`{verbs: [get], nonResourceURLs: [/version, /api, /api/*, /apis, /apis/*, /openapi/*]}]}`
	allPolicy = `{name: all, rules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"]}, {verbs: ["*"], nonResourceURLs: ["*"]}]}`
)

// served is one `kuberelay serve` process.
type served struct {
	*relay
	setup  setup
	dir    string
	local  string // URL of the listener that goes by the uid of loopback peers
	team   string // URL of the listener with TLS, which goes by tokens
	socket string // path of the Unix socket that gives tokens out
}

func (s *served) config() string    { return filepath.Join(s.dir, "config.yaml") }
func (s *served) auditFile() string { return filepath.Join(s.dir, "audit.jsonl") }

// startServe runs `kuberelay serve` in front of all API servers and waits until
// they are READY. The listeners are local, sock and team, unless the setup has
// others.
func startServe(t *testing.T, c setup) *served {
	t.Helper()
	s := newServed(t, c)
	s.write(t)
	s.start(t)
	return s
}

// newServed makes a directory for a process, and the setup whole.
func newServed(t *testing.T, c setup) *served {
	t.Helper()
	dir, err := os.MkdirTemp(cacheDir, "serve-")
	check(t, err)
	check(t, os.Chmod(dir, 0o755)) // the socket is for other users
	s := &served{dir: dir, socket: filepath.Join(dir, "api.sock"), setup: c}
	s.setup.credentials = append(s.setup.credentials, "{name: broker, tokenFile: "+broker(t)+"}")
	if c.policies == nil {
		s.setup.policies = []string{readerPolicy, shellPolicy, allPolicy}
	}
	if c.listeners == nil {
		s.setup.listeners = []string{
			`{name: local, address: "127.0.0.1:0", mode: shared, cluster: lab, identify: [uid]}`,
			fmt.Sprintf(`{name: sock, address: "unix://%s", socketMode: "0666", mode: shared, cluster: lab, identify: [uid]}`, s.socket),
			fmt.Sprintf(`{name: team, address: "127.0.0.1:0", mode: shared, cluster: lab, tls: %s, identify: [bearer]}`, servingTLS(t)),
		}
	}
	if c.cluster == "" {
		s.setup.cluster = fmt.Sprintf("{name: lab, kubeconfig: {path: %s}, servers: [%s]}", cluster.Kubeconfig(), serverURLs())
	}
	if c.upstreams == nil {
		s.setup.upstreams = serverIDs()
	}
	if c.program == "" {
		s.setup.program = kuberelay
	}
	if c.admin == "" {
		s.setup.admin = "127.0.0.1:0"
	}
	return s
}

// start runs the process and waits until the servers are READY.
func (s *served) start(t *testing.T) {
	t.Helper()
	s.launch(t)
	s.awaitAllReady(s.setup.upstreams, 30*time.Second)
}

// launch runs the process and waits until it listens.
func (s *served) launch(t *testing.T) {
	t.Helper()
	command := append(slices.Clone(s.setup.launcher), s.setup.program, "serve", "--config="+s.config())
	r, stdout := launchCommand(t, exec.Command(command[0], command[1:]...))
	s.relay = r
	for range s.setup.listeners {
		line, ok := <-stdout
		if !ok {
			t.Fatalf("kuberelay serve does not start:\n%s", r.log)
		}
		switch fields := strings.Fields(line); { // Serving NAME on ADDRESS
		case len(fields) != 4:
			t.Fatalf("kuberelay serve says %q, want Serving NAME on ADDRESS", line)
		case fields[1] == "local":
			s.local = "http://" + fields[3]
		case fields[1] == "team":
			s.team = "https://" + fields[3]
		}
	}
	r.Admin = r.adminURL()
}

// write writes the configuration file.
func (s *served) write(t *testing.T) {
	t.Helper()
	s.writeText(t, s.text())
}

func (s *served) writeText(t *testing.T, text string) {
	t.Helper()
	check(t, os.WriteFile(s.config(), []byte(text), 0o600))
}

// text is the configuration file, an entry a line.
func (s *served) text() string {
	var b strings.Builder
	list := func(name string, entries ...string) {
		fmt.Fprintf(&b, "%s:\n", name)
		for _, e := range entries {
			fmt.Fprintf(&b, "- %s\n", e)
		}
	}
	fmt.Fprintf(&b, "apiVersion: kuberelay/v1alpha1\nkind: Configuration\n")
	list("clusters", s.setup.cluster)
	list("credentials", s.setup.credentials...)
	list("policies", s.setup.policies...)
	list("clients", s.setup.clients...)
	list("listeners", s.setup.listeners...)
	if s.setup.gossip != "" {
		fmt.Fprintf(&b, "gossip: %s\n", s.setup.gossip)
	}
	fmt.Fprintf(&b, "admin: {address: %q, controlSocket: %s}\n", s.setup.admin, filepath.Join(s.dir, "admin.sock"))
	fmt.Fprintf(&b, "log: {level: info, format: json, accessLog: false}\n")
	fmt.Fprintf(&b, "audit: {file: %s}\n", s.auditFile())
	fmt.Fprintf(&b, "stateFile: %s\n", filepath.Join(s.dir, "state.json"))
	return b.String()
}

func serverURLs() string {
	var urls []string
	for _, s := range cluster.Servers {
		urls = append(urls, s.URL())
	}
	return strings.Join(urls, ", ")
}

// servingTLS is the certificate of the tests' listeners.
func servingTLS(t *testing.T) string {
	t.Helper()
	certFile, keyFile, err := listenerCertificate()
	check(t, err)
	return fmt.Sprintf("{certFile: %s, keyFile: %s}", certFile, keyFile)
}

func listenerCertificate() (certFile, keyFile string, err error) {
	files, err := onceCertificate()
	return files[0], files[1], err
}

var onceCertificate = sync.OnceValues(func() (files [2]string, err error) {
	files[0], files[1], err = cluster.IssueServing("listener", "127.0.0.1", "localhost")
	return files, err
})

// broker is the token file of a service account that may impersonate and
// nothing else. Group dev may view and ops may do everything, of which every
// API server knows when it returns.
func broker(t *testing.T) string {
	t.Helper()
	file, err := onceBroker()
	check(t, err)
	return file
}

var onceBroker = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	token, err := cluster.CreateBroker(ctx)
	if err != nil {
		return "", err
	}
	err = errors.Join(
		cluster.BindGroup(ctx, "dev", "system:aggregate-to-view"),
		cluster.BindGroup(ctx, "ops", "cluster-admin"),
	)
	if err != nil {
		return "", err
	}
	for _, s := range cluster.Servers {
		for group, path := range map[string]string{"dev": "/api/v1/pods?limit=1", "ops": "/api/v1/nodes?limit=1"} {
			if err := awaitRight(ctx, s, token, group, path); err != nil {
				return "", err
			}
		}
	}
	file := filepath.Join(cacheDir, "broker.token")
	return file, os.WriteFile(file, []byte(token), 0o600)
})

// awaitRight waits until the server lets the broker read a path as a group.
func awaitRight(ctx context.Context, s *lab.Server, token, group, path string) error {
	config := cluster.TLSConfig()
	config.Certificates = nil
	direct := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Impersonate-User", "anybody")
		req.Header.Set("Impersonate-Group", group)
		resp, err := direct.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not let group %s read %s: %v, %w", s.Address(), group, path, resp, err)
		}
	}
}

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// operate runs one of kuberelay's commands on the process, by its configuration
// file.
func (s *served) operate(args ...string) result {
	return runKuberelay(s.t, append(args, "--config="+s.config())...)
}

func runKuberelay(t testing.TB, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, kuberelay, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() < 0) {
		t.Fatalf("kuberelay %s: %v", strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// must fails the test unless the command succeeds.
func (s *served) must(args ...string) string {
	s.t.Helper()
	r := s.operate(args...)
	if r.code != 0 {
		s.t.Fatalf("kuberelay %s: exit code %d, %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// reload writes the configuration file as it is now set up, and has it put into
// force.
func (s *served) reload() {
	s.t.Helper()
	s.write(s.t.(*testing.T))
	s.must("reload")
}
