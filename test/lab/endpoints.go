package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

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
