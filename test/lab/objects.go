package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
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
		if u.ClusterRole == "" {
			continue
		}
		const group = "rbac.authorization.k8s.io"
		err := l.Create(ctx, "/apis/"+group+"/v1/clusterrolebindings", object{
			"metadata": object{"name": "lab-" + u.Name},
			"roleRef":  object{"apiGroup": group, "kind": "ClusterRole", "name": u.ClusterRole},
			"subjects": []object{{"apiGroup": group, "kind": "User", "name": u.Name}},
		})
		if err != nil {
			return err
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

const endpointsPrefix = "/registry/endpointslices/default/"

// PublishEndpoints makes the EndpointSlices of the service default/kubernetes
// say that the API servers are at the given host:port addresses, and no others.
// Each has a slice of its own, since they differ by port. It writes to etcd,
// because the API servers' validation forbids loopback addresses here. After
// Start, the lab's own servers are published.
func (l *Lab) PublishEndpoints(ctx context.Context, addresses ...string) error {
	var ops []object
	for i, address := range addresses {
		host, port, err := splitAddress(address)
		if err != nil {
			return fmt.Errorf("publish endpoints: %w", err)
		}
		name := fmt.Sprintf("kubernetes-%d", i)
		slice, err := json.Marshal(endpointSlice(name, host, port))
		if err != nil {
			return err
		}
		ops = append(ops, object{"requestPut": object{"key": encode(endpointsPrefix + name), "value": encode(string(slice))}})
	}
	old, err := l.publishedEndpoints(ctx)
	if err != nil {
		return err
	}
	for i := len(addresses); i < old; i++ {
		ops = append(ops, object{"requestDeleteRange": object{"key": encode(fmt.Sprintf("%skubernetes-%d", endpointsPrefix, i))}})
	}
	if len(ops) == 0 {
		return nil
	}
	return l.etcdCall(ctx, "/v3/kv/txn", object{"success": ops}, nil)
}

// publishedEndpoints is the number of slices that PublishEndpoints wrote.
func (l *Lab) publishedEndpoints(ctx context.Context) (int, error) {
	from := endpointsPrefix + "kubernetes-"
	var out struct {
		Count int `json:"count,string"`
	}
	// The range ends before the next prefix: "." follows "-".
	err := l.etcdCall(ctx, "/v3/kv/range", object{"key": encode(from), "range_end": encode(endpointsPrefix + "kubernetes."), "count_only": true}, &out)
	return out.Count, err
}

func endpointSlice(name, host string, port int) object {
	addressType := "IPv6"
	if strings.Contains(host, ".") {
		addressType = "IPv4"
	}
	return object{
		"apiVersion": "discovery.k8s.io/v1",
		"kind":       "EndpointSlice",
		"metadata": object{
			"name":              name,
			"namespace":         "default",
			"uid":               newUID(),
			"creationTimestamp": time.Now().UTC().Format(time.RFC3339),
			"labels":            object{"kubernetes.io/service-name": "kubernetes"},
		},
		"addressType": addressType,
		"endpoints":   []object{{"addresses": []string{host}, "conditions": object{"ready": true}}},
		"ports":       []object{{"name": "https", "port": port, "protocol": "TCP"}},
	}
}

// etcdCall uses etcd's gRPC gateway, which speaks JSON with base64 keys and
// values.
func (l *Lab) etcdCall(ctx context.Context, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.etcdURL+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	if err := exchange(l.prober, req, out); err != nil {
		return fmt.Errorf("write to etcd: %w", err)
	}
	return nil
}

// newUID returns a random UUID (RFC 9562, version 4).
func newUID() string {
	var b [16]byte
	rand.Read(b[:]) // Never fails: crypto/rand.
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
