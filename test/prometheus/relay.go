package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Tokens of clients. Their configuration holds the hashes.
const (
	workerToken  = "kuberelay_worker-0123456789abcdef0123456789abcdef"
	removedToken = "kuberelay_removed-0123456789abcdef0123456789abcdef"
	brokenToken  = "kuberelay_broken-0123456789abcdef0123456789abcdef"
	pluginToken  = "kuberelay_plugin-0123456789abcdef0123456789abcdef"
)

// relay is a running kuberelay serve.
type relay struct {
	*process
	name                   string
	binary, config         string
	address, admin, gossip string // host:port
	removable              string // the configuration, as far as the client that a reload removes
	rest                   string
}

// startRelays starts two that are peers. What was started is returned also
// along with an error.
func startRelays(ctx context.Context, binary, dir string, servers *apiServers) (relays []*relay, err error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	peer := ""
	for _, name := range []string{"first", "second"} {
		own := filepath.Join(dir, name)
		if err := os.Mkdir(own, 0o700); err != nil {
			return relays, err
		}
		if err := os.WriteFile(filepath.Join(own, "gossip.key"), key, 0o600); err != nil {
			return relays, err
		}
		r, err := startRelay(ctx, name, binary, own, peer, servers)
		if err != nil {
			return relays, fmt.Errorf("%s instance: %w", name, err)
		}
		relays, peer = append(relays, r), r.gossip
	}
	return relays, nil
}

func startRelay(ctx context.Context, name, binary, dir, peer string, servers *apiServers) (*relay, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	r := &relay{name: name, binary: binary, config: filepath.Join(dir, "config.yaml")}
	for _, address := range []*string{&r.address, &r.admin, &r.gossip} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	if err := r.writeFiles(dir, peer, servers); err != nil {
		return nil, err
	}
	if r.process, err = start(ctx, dir, binary, "serve", "--config="+r.config); err != nil {
		return nil, err
	}
	err = until(ctx, 20*time.Second, func() error {
		answer, err := get(ctx, "http://"+r.admin+"/readyz", "")
		if err == nil && answer.code != http.StatusOK {
			err = fmt.Errorf("/readyz: %d %s", answer.code, answer.body)
		}
		return err
	})
	if err != nil {
		r.stop()
		return nil, r.said(err)
	}
	return r, nil
}

// writeFiles writes the configuration and what it refers to.
func (r *relay) writeFiles(dir, peer string, servers *apiServers) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(24*time.Hour).Unix()))
	plugin := fmt.Sprintf(`#!/bin/sh
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"check","expirationTimestamp":%q}}'
`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	for name, text := range map[string]string{
		"ca.pem":     string(servers.ca),
		"kubeconfig": servers.kubeconfig(in("ca.pem")),
		"token":      "e30." + claims + ".e30",
		"plugin":     plugin,
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o700); err != nil {
			return err
		}
	}
	r.removable = fmt.Sprintf(`apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- {name: prod, kubeconfig: {path: %q}, servers: [%s], discovery: {mode: none}}
credentials:
- {name: file, tokenFile: %q}
- {name: plugin, exec: {command: %q}}
- {name: broken, exec: {command: "false"}}
policies:
- name: pods
  rules:
  - {verbs: [get, list, watch, create], apiGroups: [""], resources: [pods]}
  - {verbs: [get], nonResourceURLs: [/version]}
listeners:
- {name: team, address: %q, mode: shared, cluster: prod, identify: [bearer]}
admin: {address: %q, controlSocket: %q}
audit: {file: %q}
gossip: {bindAddress: %q, nodeName: %s, peers: [%s], secretKeyFiles: [%q]}
gracePeriod: 1s
clients:
`, in("kubeconfig"), servers.others(), in("token"), in("plugin"), r.address, r.admin, in("admin.sock"), in("audit.jsonl"), r.gossip, r.name, quoted(peer), in("gossip.key"))
	r.rest = client("worker", workerToken, "file") + client("broken", brokenToken, "broken") + client("plugin", pluginToken, "plugin")
	return os.WriteFile(r.config, []byte(r.removable+client("removed", removedToken, "file")+r.rest), 0o600)
}

// quoted is a list of one string, or of none.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("%q", s)
}

func client(name, token, credential string) string {
	sum := sha256.Sum256([]byte(token))
	return fmt.Sprintf(`- name: %s
  match: [{tokenSHA256: %q}]
  grants: [{cluster: prod, credential: %s, policy: pods}]
  limits: {requestsPerSecond: 100, burst: 20}
`, name, hex.EncodeToString(sum[:]), credential)
}

// writeWithoutRemoved writes the configuration without one of its clients.
func (r *relay) writeWithoutRemoved() error {
	return os.WriteFile(r.config, []byte(r.removable+r.rest), 0o600)
}
