package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// step is one thing to try. It returns what was seen, in a few words.
type step struct {
	name string
	run  func(ctx context.Context) (string, error)
}

// Each step ends within this time.
const stepTimeout = 2 * time.Minute

// readsPerSecond is the load during the death of a server.
const readsPerSecond = 50

// script performs all steps, one line each, and fails if one does.
func (d *demo) script(ctx context.Context) error {
	steps := []step{
		{"GET /version", d.getVersion},
		{"GET /api/v1/pods", d.getPods},
		{"GET /apis/apps/v1/deployments", d.getDeployments},
		{"kubectl get pods", d.kubectlGet},
		{"kubectl get pods -w", d.kubectlWatch},
		{"kubectl exec", d.kubectlExec},
		{"kubectl exec -i, with input", d.kubectlExecInput},
		{"kubectl logs -f", d.kubectlLogs},
		{"kubectl port-forward", d.kubectlPortForward},
		{"kuberelay knows all servers", d.allReady},
	}
	for _, s := range d.lab.Servers {
		steps = append(steps, step{
			fmt.Sprintf("kill -9 of server %d under %d reads/s, and its return", s.Index, readsPerSecond),
			func(ctx context.Context) (string, error) { return d.killUnderLoad(ctx, s) },
		})
	}
	steps = append(steps, step{"SIGTERM ends kuberelay with exit code 0", func(context.Context) (string, error) { return "", d.relay.stop() }})
	d.printf("\n")
	failed := 0
	for _, s := range steps {
		if err := d.perform(ctx, s); err != nil {
			failed++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d steps failed", failed, len(steps))
	}
	d.printf("\nall %d steps ok\n", len(steps))
	return nil
}

func (d *demo) perform(ctx context.Context, s step) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	began := time.Now()
	detail, err := s.run(ctx)
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		d.printf("FAILED  %s (%v): %v\n", s.name, took, err)
		return err
	}
	if detail != "" {
		detail = ": " + detail
	}
	d.printf("ok      %s (%v)%s\n", s.name, took, detail)
	return nil
}

// getJSON reads an answer's JSON into out.
func getJSON(ctx context.Context, url string, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

func (d *demo) getVersion(ctx context.Context) (string, error) {
	var version struct{ GitVersion string }
	if err := getJSON(ctx, d.relay.url+"/version", &version); err != nil {
		return "", err
	}
	if version.GitVersion != lab.KubernetesVersion {
		return "", fmt.Errorf("the version is %q, want %q", version.GitVersion, lab.KubernetesVersion)
	}
	return version.GitVersion, nil
}

// list is any list of Kubernetes objects.
type list struct {
	Kind  string
	Items []struct {
		Metadata struct{ Name string }
	}
}

func (d *demo) getPods(ctx context.Context) (string, error) {
	var pods list
	if err := getJSON(ctx, d.relay.url+"/api/v1/pods", &pods); err != nil {
		return "", err
	}
	for _, pod := range pods.Items {
		if pod.Metadata.Name == demoPod {
			return fmt.Sprintf("%d pods", len(pods.Items)), nil
		}
	}
	return "", fmt.Errorf("pod %s is not in the list of %d pods", demoPod, len(pods.Items))
}

func (d *demo) getDeployments(ctx context.Context) (string, error) {
	var deployments list
	if err := getJSON(ctx, d.relay.url+"/apis/apps/v1/deployments", &deployments); err != nil {
		return "", err
	}
	if deployments.Kind != "DeploymentList" {
		return "", fmt.Errorf("the answer is a %q", deployments.Kind)
	}
	return deployments.Kind, nil
}

// states asks kuberelay what it thinks of its servers: URL to state.
func (d *demo) states(ctx context.Context) (map[string]string, error) {
	var status struct {
		Clusters []struct {
			Upstreams []struct{ URL, State string }
		}
	}
	if err := getJSON(ctx, d.relay.admin+"/api/v1/status", &status); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, c := range status.Clusters {
		for _, u := range c.Upstreams {
			states[strings.TrimSuffix(u.URL, "/")] = u.State
		}
	}
	return states, nil
}

// waitState waits until kuberelay thinks that of the server.
func (d *demo) waitState(ctx context.Context, url, want string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		states, err := d.states(ctx)
		if err == nil && states[url] == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to be %s: it is %q: %w", url, want, states[url], errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

func (d *demo) allReady(ctx context.Context) (string, error) {
	for _, s := range d.lab.Servers {
		if err := d.waitState(ctx, s.URL(), "READY"); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d READY", len(d.lab.Servers)), nil
}

func (d *demo) killUnderLoad(ctx context.Context, s *lab.Server) (string, error) {
	load := startLoad(d.relay.url, readsPerSecond)
	down, err := d.killAndStart(ctx, s)
	result := load.stop()
	if err != nil {
		return "", err
	}
	if len(result.failures) > 0 {
		return "", fmt.Errorf("%v, the first one: %s", result, result.failures[0])
	}
	return fmt.Sprintf("%v, DOWN after %v", result, down.Round(time.Millisecond)), nil
}

// killAndStart returns how long it took kuberelay to think the server DOWN.
func (d *demo) killAndStart(ctx context.Context, s *lab.Server) (time.Duration, error) {
	began := time.Now()
	if err := s.Kill(); err != nil {
		return 0, err
	}
	if err := d.waitState(ctx, s.URL(), "DOWN"); err != nil {
		return 0, err
	}
	down := time.Since(began)
	if err := s.Start(ctx); err != nil {
		return 0, err
	}
	return down, d.waitState(ctx, s.URL(), "READY")
}
