package daemon

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/internal/h1"
	"github.com/kuberelay/kuberelay/proxy"
)

// member is one upstream and what it was built from.
type member struct {
	upstream   *proxy.Upstream
	source     string // admin.Source…
	url        *url.URL
	tls        *tls.Config // nil for http
	generation uint64      // of the endpoint
	announced  bool        // its first state was logged
	key        string      // by which peers know it
	assumed    bool        // its class is what peers say, until its first probe
	probed     bool        // there was one
}

// update refreshes and tells the peers.
func (c *cluster) update() error {
	if err := c.refresh(); err != nil {
		return err
	}
	c.daemon.mesh.learn()
	return nil
}

// refresh brings the upstreams in line with the kubeconfig, the configuration
// and the last discovery. Upstreams that stay keep their connections; those
// that go finish what they carry.
func (c *cluster) refresh() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	endpoint := c.kubeconfig.Endpoint()
	wanted, order, err := c.wanted(endpoint)
	if err != nil {
		return err
	}
	old := c.members
	targets := make([]health.Target, 0, len(order))
	for _, id := range order {
		m := wanted[id]
		if before := old[id]; before != nil && before.generation == m.generation && before.url.String() == m.url.String() {
			m.upstream, m.tls, m.announced = before.upstream, before.tls, before.announced
			m.assumed, m.probed = before.assumed, before.probed
		} else {
			m.upstream, err = newUpstream(c.config.Name, id, m, endpoint)
			if err != nil {
				return err // nothing has changed
			}
		}
		initial := health.Suspect
		if m.source == admin.SourceDiscovered {
			initial = health.Down
		}
		targets = append(targets, health.Target{ID: id, URL: m.url, Initial: initial})
	}
	c.members = wanted
	c.group.Set(targets)
	c.metrics.SetUpstreams(c.config.Name, order)
	members := make([]balancer.Member[*proxy.Upstream], 0, len(order))
	for _, s := range c.group.Snapshot() {
		members = append(members, balancer.Member[*proxy.Upstream]{ID: s.ID, Value: c.members[s.ID].upstream, Class: class(s.State, s.Cause)})
		c.metrics.Upstream(c.config.Name, s.ID).State(s.State.String())
	}
	c.pool.Set(members)
	c.syncDrained()
	for id, m := range old {
		if now := wanted[id]; now == nil || now.upstream != m.upstream {
			m.upstream.Close()
			c.prober.Forget(id)
		}
	}
	return nil
}

// wanted lists the upstreams by host:port; the kubeconfig's own comes first.
func (c *cluster) wanted(endpoint *auth.Endpoint) (members map[string]*member, order []string, err error) {
	members = make(map[string]*member)
	add := func(u *url.URL, source, serverName string) {
		id := proxy.HostPort(u)
		if members[id] != nil {
			return
		}
		m := &member{source: source, url: u, generation: endpoint.Generation, key: gossip.UpstreamID(u.String(), endpoint.Authority)}
		if u.Scheme == "https" {
			m.tls = &tls.Config{MinVersion: tls.VersionTLS12}
			if endpoint.TLS != nil {
				m.tls = endpoint.TLS.Clone()
			}
			if m.tls.ServerName == "" {
				m.tls.ServerName = serverName
			}
		}
		members[id] = m
		order = append(order, id)
	}
	add(endpoint.URL, admin.SourceKubeconfig, endpoint.URL.Hostname())
	for _, server := range c.config.Servers {
		u, err := config.ParseServer(server)
		if err != nil {
			return nil, nil, err
		}
		add(u, admin.SourceFlag, u.Hostname())
	}
	discovered := c.discovered
	if !verifies(endpoint) {
		discovered = nil
	}
	for _, address := range discovered {
		// The certificate is checked for the name that the kubeconfig knows
		// the cluster by: an address alone proves nothing.
		u := &url.URL{Scheme: endpoint.URL.Scheme, Host: address, Path: endpoint.URL.Path, RawPath: endpoint.URL.RawPath}
		add(u, admin.SourceDiscovered, endpoint.URL.Hostname())
	}
	return members, order, nil
}

// verifies reports whether a connection proves that the server is one of the
// cluster. Otherwise discovered addresses are not used: whoever is there would
// get the credential.
func verifies(e *auth.Endpoint) bool { return e.TLS != nil && !e.TLS.InsecureSkipVerify }

func newUpstream(cluster, id string, m *member, endpoint *auth.Endpoint) (*proxy.Upstream, error) {
	dial := h1.NewDialer().DialContext
	via, err := endpoint.Proxy(&http.Request{URL: m.url, Header: http.Header{}})
	if err != nil {
		return nil, fmt.Errorf("egress proxy for %s: %w", m.url.Host, err)
	}
	if via != nil {
		if dial, err = h1.ProxyDial(via, dial, nil); err != nil {
			return nil, fmt.Errorf("egress proxy for %s: %w", m.url.Host, err)
		}
	}
	return proxy.NewUpstream(proxy.UpstreamOptions{Cluster: cluster, ID: id, URL: m.url, Generation: m.generation, TLS: m.tls, Dial: dial}), nil
}

func (c *cluster) member(id string) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[id]
}

// meshKeys are the identities of the upstreams, by which peers know them.
func (c *cluster) meshKeys() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make(map[string]string, len(c.members))
	for id, m := range c.members {
		keys[id] = m.key
	}
	return keys
}

func (c *cluster) source(id string) string {
	if m := c.member(id); m != nil {
		return m.source
	}
	return ""
}
