package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The names of the candidates that are kuberelay serve: a shared listener that
// identifies by uid, with 10,000 clients, with an audit log and without.
const (
	sharedAudited = "shared"
	sharedQuiet   = "shared-without-audit"
)

// sharedClients is how many clients the configuration has beside ours.
const sharedClients = 10000

func isShared(name string) bool { return name == sharedAudited || name == sharedQuiet }

// sharedServe returns the command of one of them.
func sharedServe(ctx context.Context, kuberelay, name string, env environment) (*exec.Cmd, error) {
	tokenFile := filepath.Join(env.dir, "broker.token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: kuberelay/v1alpha1
kind: Configuration
clusters:
- {name: bench, kubeconfig: {path: %q}, servers: [%s]}
credentials:
- {name: broker, tokenFile: %q}
policies:
- name: read
  rules:
  - {verbs: [get, list, watch], apiGroups: ["", apps], resources: [pods, pods/log, configmaps, deployments]}
listeners:
- {name: local, address: "127.0.0.1:0", mode: shared, cluster: bench, identify: [uid]}
log: {format: json}
`, env.kubeconfig, strings.ReplaceAll(env.servers(), ",", ", "), tokenFile)
	if name == sharedAudited {
		fmt.Fprintf(&b, "audit: {file: %q}\n", filepath.Join(env.dir, "audit.jsonl"))
	}
	client := func(name string, uid int) {
		fmt.Fprintf(&b, `- name: %s
  match: [{uid: %d}]
  grants: [{cluster: bench, credential: broker, impersonate: {user: %s, groups: [dev]}, policy: read}]
  limits: {requestsPerSecond: 0, burst: 0, maxInFlight: 0}
`, name, uid, name)
	}
	b.WriteString("clients:\n")
	client("bench", os.Getuid())
	for i := range sharedClients {
		client(fmt.Sprintf("client-%d", i), 100000+i)
	}
	file := filepath.Join(env.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, kuberelay, "serve", "--config", file), nil
}

// added is what a shared listener costs beside the single one, in CPU
// microseconds for each request, round by round.
type added struct {
	Workload string `json:"workload"`
	Proxy    string `json:"proxy"`
	spread
}

func (r *result) summariseAdded() {
	for _, w := range workloads {
		single := r.over("kuberelay", w.Name, cpu)
		for _, p := range r.Proxies {
			shared := r.over(p.Name, w.Name, cpu)
			if !isShared(p.Name) || len(shared) != len(single) {
				continue
			}
			differences := make([]float64, len(shared))
			for i := range shared {
				differences[i] = shared[i] - single[i]
			}
			r.Added = append(r.Added, added{w.Name, p.Name, spreadOf(differences)})
		}
	}
}

// checkAdded returns where a shared listener adds more than the limit to a
// small request.
func (r *result) checkAdded(limit float64) error {
	var errs []error
	for _, a := range r.Added {
		if a.Workload == workloads[0].Name && a.Median > limit {
			errs = append(errs, fmt.Errorf("%s: %s adds %.1f µs of CPU to a request, more than %.1f", a.Workload, a.Proxy, a.Median, limit))
		}
	}
	return errors.Join(errs...)
}
