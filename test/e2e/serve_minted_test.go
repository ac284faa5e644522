package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mintedSeconds is how long tokens of the Unix socket hold in these tests,
// instead of ten minutes.
const mintedSeconds = 6

// buildShortLived compiles kuberelay with the one line changed that says so.
func buildShortLived(t *testing.T) (program string) {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("..", "..", "daemon", "wire.go"))
	check(t, err)
	text, err := os.ReadFile(source)
	check(t, err)
	const line = "const mintedFor = 10 * time.Minute\n"
	if strings.Count(string(text), line) != 1 {
		t.Fatalf("%s does not have the line %q once", source, line)
	}
	dir, err := os.MkdirTemp(cacheDir, "short-lived-")
	check(t, err)
	changed := filepath.Join(dir, "wire.go")
	check(t, os.WriteFile(changed, []byte(strings.Replace(string(text), line, fmt.Sprintf("const mintedFor = %d * time.Second\n", mintedSeconds), 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	program = filepath.Join(dir, "kuberelay")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/kuberelay")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build kuberelay: %v\n%s", err, out)
	}
	return program
}

// minted gets a token on the Unix socket, and is kubectl with that one alone.
func (s *served) minted(t *testing.T, p *person) *relay {
	t.Helper()
	cmd := p.prepare(exec.CommandContext(t.Context(), kuberelay, "credential", "--socket="+s.socket))
	out, err := cmd.Output()
	check(t, err)
	var credential struct{ Status struct{ Token string } }
	check(t, json.Unmarshal(out, &credential))
	return s.withKubeconfig(p, "minted", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}],
users: [{name: u, user: {token: %q}}],
contexts: [{name: c, context: {cluster: c, user: u}}]}`, s.team, s.authorityData(), credential.Status.Token))
}

// TestServeTokensOfTheSocketExpire: kubectl with the kubeconfig that kuberelay
// makes gets a token for each of its runs. When that expires it is good for
// nothing new, and what was opened with it goes on, until the right to it ends.
func TestServeTokensOfTheSocketExpire(t *testing.T) {
	pod := newPod(t)
	all := people(t, "alice", "bob")
	alice, bob := all[0], all[1]
	s := startServe(t, setup{program: buildShortLived(t), clients: []string{alice.client("shell"), bob.client("all")}})
	namespace := s.byToken(bob).namespace()
	for _, c := range []struct {
		name, reason string
		cut, back    func()
	}{
		{"revoked", "revoked", func() { s.must("revoke", "alice") }, func() { s.must("revoke", "alice", "--lift") }},
		{
			"removed from the configuration", "removed",
			func() { s.setup.clients = []string{bob.client("all")}; s.reload() },
			func() { s.setup.clients = []string{alice.client("shell"), bob.client("all")}; s.reload() },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := s.record()
			ofAlice := openStreams(t, s.byUser(alice), "alice", namespace, pod)
			later := s.minted(t, alice) // expires after those of the streams
			later.mustKubectl("", "get", "--raw=/version")
			limit := time.Now().Add(30 * time.Second)
			for expired := false; !expired; {
				_, err := later.kubectl("", "get", "--raw=/version")
				expired = err != nil
				if expired && !strings.Contains(err.Error(), "the token has expired") {
					t.Fatalf("with the token of before: %v, want it refused", err)
				}
				if time.Now().After(limit) {
					t.Fatalf("a token of %d seconds is still accepted", mintedSeconds)
				}
			}
			s.byUser(alice).mustKubectl("", "get", "configmaps", "-n", namespace) // with the next token
			ofAlice.alive(t)

			cause := time.Now()
			c.cut()
			ofAlice.watch.endsWithin(t, "the watch", cause)
			ofAlice.shell.endsWithin(t, "the exec", cause)
			records.closedBy(t, "alice", c.reason, 2, cause)
			c.back()
		})
	}
}
