package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/health"
)

// startIdentityTimeout bounds the look at the servers' identities at start.
const startIdentityTimeout = 2 * time.Second

// identityProber lets a server pass its probes only if it belongs to the same
// cluster as the kubeconfig's own: the UID of its kube-system namespace says
// so. Where that cannot be found out (the credential may not read the
// namespace), the server passes.
type identityProber struct {
	*health.HTTPProber
	c *cluster

	mu       sync.Mutex
	want     string          // UID; "" unknown
	verified map[string]bool // by target ID, since its last failed probe
}

func newIdentityProber(c *cluster) *identityProber {
	return &identityProber{HTTPProber: c.prober, c: c, verified: make(map[string]bool)}
}

// Probe implements health.Prober.
func (p *identityProber) Probe(ctx context.Context, t health.Target, path string, fresh bool) health.Result {
	r := p.HTTPProber.Probe(ctx, t, path, fresh)
	if r.Kind != health.Pass {
		p.mu.Lock()
		delete(p.verified, t.ID)
		p.mu.Unlock()
		return r
	}
	p.mu.Lock()
	known := p.verified[t.ID]
	p.mu.Unlock()
	if known && !fresh || p.c.alone() { // a new connection may lead elsewhere
		return r
	}
	uid, err := p.ClusterIdentity(ctx, t)
	if ctx.Err() != nil {
		return r // asked again with the next probe; etcd may be slow
	}
	if err = p.judge(t, uid, err); err != nil {
		p.mu.Lock()
		delete(p.verified, t.ID)
		p.mu.Unlock()
		return health.Result{Kind: health.WrongCluster, Err: err}
	}
	return r
}

// judge compares a server's identity with the cluster's. The kubeconfig's own
// server is right by definition; before it was reached, the first other is.
func (p *identityProber) judge(t health.Target, uid string, err error) error {
	own := p.c.source(t.ID) == admin.SourceKubeconfig
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
	case own && p.want != uid:
		p.want = uid
		clear(p.verified) // the others are asked again
	case p.want == "":
		p.want = uid
	case p.want != uid:
		return fmt.Errorf("it belongs to another cluster: the UID of its kube-system namespace is %s, not %s", uid, p.want)
	}
	p.verified[t.ID] = true
	return nil
}

// Forget implements health.Prober.
func (p *identityProber) Forget(id string) {
	p.mu.Lock()
	delete(p.verified, id)
	p.mu.Unlock()
	p.HTTPProber.Forget(id)
}

// alone reports whether the cluster has only one server, so that there is
// nothing to compare.
func (c *cluster) alone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members) < 2
}

// checkIdentity refuses, at start, servers that answer as different clusters.
// Those that do not answer in time are judged once they do.
func (c *cluster) checkIdentity(ctx context.Context) error {
	if len(c.config.Servers) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startIdentityTimeout)
	defer cancel()
	type answer struct {
		target health.Target
		uid    string
	}
	c.mu.Lock()
	targets := make([]health.Target, 0, len(c.members))
	for id, m := range c.members {
		targets = append(targets, health.Target{ID: id, URL: m.url})
	}
	c.mu.Unlock()
	answers := make(chan answer, len(targets))
	for _, t := range targets {
		go func() {
			uid, _ := c.prober.ClusterIdentity(ctx, t) // "" is unknown
			answers <- answer{t, uid}
		}()
	}
	var known []answer
	for range targets {
		if a := <-answers; a.uid != "" {
			known = append(known, a)
		}
	}
	for _, a := range known {
		if first := known[0]; a.uid != first.uid {
			return fmt.Errorf("cluster %q: servers %s and %s belong to different clusters (the UIDs of their kube-system namespaces are %s and %s); name API servers of one cluster only",
				c.config.Name, first.target.URL.Host, a.target.URL.Host, first.uid, a.uid)
		}
	}
	return nil
}
