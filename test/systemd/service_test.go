package systemd

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clientToken is the token of the client that calls from outside.
const clientToken = "a-token-for-the-load-of-these-tests"

const configuration = `apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- name: prod
  kubeconfig: {path: /etc/kuberelay/prod.kubeconfig}
  servers: [SERVERS]
  discovery: {mode: none}
credentials:
- {name: broker, tokenFile: /run/credentials/kuberelay.service/prod.token}
policies:
- name: everything
  rules:
  - {verbs: ["*"], apiGroups: ["*"], resources: ["*"]}
  - {verbs: ["*"], nonResourceURLs: ["*"]}
clients:
- name: load
  match: [{tokenSHA256: "HASH"}]
  grants: [{cluster: prod, credential: broker, impersonate: {user: alice, groups: [dev]}, policy: everything}]
  limits: {requestsPerSecond: 1000, burst: 1000, maxInFlight: 500, maxWatches: 200}
- name: alice
  match: [{unixUser: alice}]
  grants: [{cluster: prod, credential: broker, impersonate: {user: alice, groups: [dev]}, policy: everything}]
listeners:
- {name: local, address: "systemd:kuberelay.socket", mode: shared, cluster: prod, identify: [uid]}
- {name: tokens, address: "systemd:kuberelay-api.socket", mode: shared, cluster: prod, identify: [uid]}
- name: kubectl
  address: "systemd:kuberelay-tls.socket"
  mode: shared
  cluster: prod
  identify: [bearer]
  hosts: [ADDRESS, FLOATING]
  tls: {certFile: /etc/kuberelay/tls.crt, keyFile: /etc/kuberelay/tls.key}
admin: {address: "127.0.0.1:9801", controlSocket: /run/kuberelay/admin.sock}
audit: {file: /var/log/kuberelay/audit.jsonl}
`

// install installs the older package, and nothing else.
func (h *host) install(t *testing.T) {
	t.Helper()
	h.carry(t)
	h.run("dpkg --install /var/tmp/0.deb")
}

// carry puts the packages into the host's /var/tmp: 0.deb and 0.rpm are the
// older ones, 1.deb and 1.rpm the newer.
func (h *host) carry(t *testing.T) {
	t.Helper()
	for i, p := range packages {
		must(t, command("cp", p.deb, filepath.Join(h.files, fmt.Sprintf("var/tmp/%d.deb", i))))
		must(t, command("cp", p.rpm, filepath.Join(h.files, fmt.Sprintf("var/tmp/%d.rpm", i))))
	}
}

// nothingRuns holds the host to have no process of kuberelay.
func (h *host) nothingRuns() {
	h.t.Helper()
	if left, _ := h.try("pgrep --list-full --exact kuberelay"); left != "" {
		h.t.Errorf("it runs on: %s", left)
	}
}

// configure writes what an administrator writes, and starts the service. The
// sections are added to the configuration.
func (h *host) configure(t *testing.T, sections ...string) {
	t.Helper()
	ca, err := os.ReadFile(cluster.CAFile())
	must(t, err)
	var servers []string
	for i := range cluster.Servers {
		servers = append(servers, fmt.Sprintf("https://%s:%d", outside, apiPort+i))
	}
	h.write("/etc/kuberelay/prod.kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
clusters: [{name: c, cluster: {server: %q, tls-server-name: localhost, certificate-authority-data: %s}}],
users: [{name: u, user: {token: %q}}], contexts: [{name: c, context: {cluster: c, user: u}}]}`,
		servers[0], base64.StdEncoding.EncodeToString(ca), broker), 0o600, "kuberelay:")
	cert, key, err := cluster.IssueServing(fmt.Sprintf("bastion-%d", h.index), h.address, floating)
	must(t, err)
	for from, to := range map[string]string{cert: "/etc/kuberelay/tls.crt", key: "/etc/kuberelay/tls.key"} {
		pem, err := os.ReadFile(from)
		must(t, err)
		h.write(to, string(pem), 0o600, "kuberelay:")
	}
	h.write("/etc/kuberelay/secrets/prod.token", broker, 0o600, "root:")
	h.write("/etc/systemd/system/kuberelay.service.d/test.conf",
		"[Service]\nLoadCredential=prod.token:/etc/kuberelay/secrets/prod.token\nWatchdogSec=6s\n", 0o644, "root:")
	h.write("/etc/systemd/system/kuberelay-tls.socket.d/test.conf", "[Socket]\nListenStream=\nListenStream=8443\n", 0o644, "root:")
	sum := sha256.Sum256([]byte(clientToken))
	h.write("/etc/kuberelay/config.yaml", strings.NewReplacer(
		"SERVERS", strings.Join(servers[1:], ", "), "HASH", hex.EncodeToString(sum[:]), "ADDRESS", h.address, "FLOATING", floating,
	).Replace(configuration)+strings.Join(sections, ""), 0o644, "root:")
	h.run("useradd --create-home alice && systemctl daemon-reload && systemctl enable --now kuberelay.socket kuberelay-api.socket kuberelay-tls.socket && systemctl start kuberelay")
	h.awaitReady()
}
