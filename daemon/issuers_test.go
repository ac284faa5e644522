package daemon

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// TestStopEndsFetchesOfIssuersKeys: after Stop no token has keys fetched.
func TestStopEndsFetchesOfIssuersKeys(t *testing.T) {
	const issuer = "https://127.0.0.1:1"
	cluster := config.DefaultCluster("c", config.Connection{Load: func() (*rest.Config, error) { return &rest.Config{Host: "https://192.0.2.1"}, nil }})
	cluster.Balancer, cluster.HealthCheck = balancer.DefaultConfig(), health.DefaultConfig()
	listener := config.DefaultListener("l", "127.0.0.1:0", "c")
	listener.Mode, listener.Filter, listener.Identify = config.Shared, filter.Config{}, []identify.Method{identify.OIDC}
	d, err := New(&config.Configuration{
		Clusters: []config.Cluster{cluster}, Listeners: []config.Listener{listener},
		Clients: []config.Client{{Name: "alice", Match: []identify.Match{{OIDC: &identify.OIDCMatch{Issuer: issuer, Audience: "kuberelay", Claim: "sub", Value: "alice"}}}}},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	part := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	r.Header.Set("Authorization", "Bearer "+part(`{"alg":"RS256","kid":"k"}`)+"."+part(`{"iss":"`+issuer+`","aud":"kuberelay","sub":"alice","exp":4000000000}`)+"."+part("signature"))
	a := d.access.Load()
	_, err = a.Directory.Identify(t.Context(), r, &identify.Peer{}, a.Listeners["l"])
	if cause := errors.Unwrap(err); cause == nil || !strings.Contains(cause.Error(), "the daemon is stopping") {
		t.Errorf("%v because of %v, want no fetch to begin", err, cause)
	}
}
