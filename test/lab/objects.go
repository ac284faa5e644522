package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// object is a Kubernetes object as JSON.
type object = map[string]any

// createObjects creates the nodes, what the users may do, and the addresses of
// the API servers.
func (l *Lab) createObjects(ctx context.Context) error {
	for i := range l.opts.Nodes {
		err := l.Create(ctx, "/api/v1/nodes", object{
			"metadata": object{"name": nodeName(i), "labels": object{"kubernetes.io/hostname": nodeName(i)}},
		})
		if err != nil {
			return err
		}
	}
	for _, u := range l.opts.Users {
		for _, role := range u.ClusterRoles {
			if err := l.bind(ctx, role, subject{APIGroup: rbacGroup, Kind: "User", Name: u.Name}); err != nil {
				return err
			}
		}
	}
	var addresses []string
	for _, s := range l.Servers {
		addresses = append(addresses, s.Address())
	}
	return l.PublishEndpoints(ctx, addresses...)
}

// CreatePod creates a pod in the namespace default and waits until it is
// Running and Ready. It has one container, named main.
func (l *Lab) CreatePod(ctx context.Context, name string) error {
	const path = "/api/v1/namespaces/default/pods"
	err := l.Create(ctx, path, object{
		"metadata": object{"name": name, "labels": object{"app": name}},
		"spec": object{
			"nodeName":                     nodeName(0),
			"automountServiceAccountToken": false,
			"containers":                   []object{{"name": "main", "image": "lab"}},
		},
	})
	if err != nil {
		return err
	}
	return l.kwok.until(ctx, "pod "+name+" to be Ready", func(ctx context.Context) error {
		return l.ready(ctx, path+"/"+name)
	})
}

// ready succeeds when the object has the condition Ready.
func (l *Lab) ready(ctx context.Context, path string) error {
	var o struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := l.Do(ctx, http.MethodGet, path, nil, &o); err != nil {
		return err
	}
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" && c.Status == "True" {
			return nil
		}
	}
	return fmt.Errorf("%s: not Ready: %v", path, o.Status.Conditions)
}

// Create posts an object to a collection's path. While the API servers start
// they refuse some objects that they will take a moment later, so it tries
// again until ctx ends; that the object exists already is success.
func (l *Lab) Create(ctx context.Context, path string, o object) error {
	for {
		err := l.Do(ctx, http.MethodPost, path, o, nil)
		var status *StatusError
		if err == nil || errors.As(err, &status) && status.Code == http.StatusConflict {
			return nil
		}
		if errors.As(err, &status) && status.Code != http.StatusForbidden && status.Code < 500 {
			return err
		}
		if pause(ctx, pollInterval) != nil {
			return err
		}
	}
}

// StatusError is an API server's answer other than 2xx.
type StatusError struct {
	Method, Path string
	Code         int
	Body         string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %d: %s", e.Method, e.Path, e.Code, e.Body)
}

// Do sends a request as the administrator to an API server to which nothing was
// done, with in as JSON unless nil, and reads the answer's JSON into out unless
// nil. An answer other than 2xx is a *StatusError.
func (l *Lab) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+l.gateway.address+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return exchange(l.client, req, out)
}

func exchange(client *http.Client, req *http.Request, out any) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	if resp.StatusCode/100 != 2 {
		return &StatusError{Method: req.Method, Path: req.URL.Path, Code: resp.StatusCode, Body: string(bytes.TrimSpace(b))}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}
