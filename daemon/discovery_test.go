package daemon_test

import (
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestDiscoveredServersCarryTheLoad finds a second server in the cluster's
// EndpointSlices, beside an address where nothing listens and one that is
// another cluster's.
func TestDiscoveredServersCarryTheLoad(t *testing.T) {
	all := servers(t, 2)
	foreign := fakeapi.New(t, fakeapi.Options{}) // a CA of its own
	gone := fakeapi.New(t, fakeapi.Options{CA: all[0].CA})
	gone.Down()
	all[0].SetEndpoints(all[0].Addr, all[1].Addr, foreign.Addr, gone.Addr)
	r := start(t, all[:1], func(cfg *config.Configuration) {
		cfg.Clusters[0].Discovery = config.Discovery{Mode: config.DiscoverEndpoints, Interval: 100 * time.Millisecond}
	})
	r.Servers = slices.Concat(all, []*fakeapi.Server{foreign, gone})
	r.awaitListed(1)
	r.awaitState(1, "READY")
	r.awaitState(2, "MISCONFIGURED")
	r.all("GET /api/v1/pods", fakeapi.Text(200, "fine"))
	for range 30 {
		if got := r.do("GET", "/api/v1/pods", ""); got.Code != 200 {
			t.Fatalf("read: %+v", got)
		}
	}
	all[0].Down()
	for range 30 {
		if got := r.do("GET", "/api/v1/pods", ""); got.Code != 200 {
			t.Fatalf("read after the kubeconfig's own server is gone: %+v", got)
		}
	}
	if n := len(foreign.Requests("GET /api/v1/pods")) + len(gone.Requests("GET /api/v1/pods")); n != 0 {
		t.Errorf("%d requests reached addresses that are not the cluster's", n)
	}
}

// awaitListed waits until a server is in the status at all.
func (r *relay) awaitListed(server int) {
	r.t.Helper()
	r.await("the server is listed", func() bool {
		return slices.ContainsFunc(r.Daemon.Status().Clusters[0].Upstreams, func(u admin.UpstreamStatus) bool { return u.ID == r.Servers[server].Addr })
	})
}

// TestNothingIsDiscoveredWithoutVerification has a kubeconfig that verifies no
// certificate: a discovered address would get the token without proof of who
// is there.
func TestNothingIsDiscoveredWithoutVerification(t *testing.T) {
	named, other := fakeapi.New(t, fakeapi.Options{}), fakeapi.New(t, fakeapi.Options{})
	named.SetEndpoints(named.Addr, other.Addr)
	r := start(t, []*fakeapi.Server{named}, func(cfg *config.Configuration) {
		cfg.Clusters[0].Discovery = config.Discovery{Mode: config.DiscoverEndpoints, Interval: 50 * time.Millisecond}
		cfg.Clusters[0].Connection.Load = func() (*rest.Config, error) {
			return &rest.Config{Host: named.URL, BearerToken: testToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, nil
		}
	})
	r.await("word of discovery in the log", func() bool {
		return r.Logs.FilterMessage("API servers cannot be discovered").Len() > 0 || r.Logs.FilterMessage("API servers discovered").Len() > 0
	})
	r.do("GET", "/version", "")
	if n := len(other.Requests()); n != 0 || len(r.Daemon.Status().Clusters[0].Upstreams) != 1 {
		t.Errorf("%d requests reached the other address; upstreams %+v", n, r.Daemon.Status().Clusters[0].Upstreams)
	}
}
