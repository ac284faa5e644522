package daemon

import (
	"net/http"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/health"
)

// TestProbesKeepToTheirOwnCluster has the kubeconfig change to another cluster
// while a probe of the first one is under way, because that was refused.
func TestProbesKeepToTheirOwnCluster(t *testing.T) {
	server, token := "https://192.0.2.1:6443", "of-the-first"
	d, err := New(&config.Configuration{Clusters: []config.Cluster{{
		Name: "c",
		Connection: config.Connection{Load: func() (*rest.Config, error) {
			return &rest.Config{Host: server, BearerToken: token}, nil
		}},
		Discovery: config.Discovery{Mode: config.DiscoverNone}, Balancer: balancer.DefaultConfig(), HealthCheck: health.DefaultConfig(),
	}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := d.parts.Load().clusters[0]
	defer c.close()
	first := health.Target{ID: "192.0.2.1:6443", URL: c.member("192.0.2.1:6443").url}
	h := http.Header{}
	if err := c.authorize(t.Context(), first, h); err != nil || h.Get("Authorization") != "Bearer of-the-first" {
		t.Fatalf("the first cluster's probe: %v, %d headers", err, len(h))
	}
	server, token = "https://192.0.2.2:6443", "of-the-second"
	h = http.Header{}
	if err := c.reauthorize(t.Context(), first, h); err == nil || len(h) != 0 {
		t.Errorf("error %v, headers %v for the first cluster's server, want none of the second's", err, h)
	}
	second := health.Target{ID: "192.0.2.2:6443", URL: c.member("192.0.2.2:6443").url}
	if err := c.authorize(t.Context(), second, h); err != nil || h.Get("Authorization") != "Bearer of-the-second" {
		t.Errorf("the second cluster's probe: %v, %d headers", err, len(h))
	}
}
