package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/internal/apigroups"
	"github.com/kuberelay/kuberelay/internal/h1"
	"github.com/kuberelay/kuberelay/proxy"
)

// cluster ties the parts of one cluster together: its credential, the
// upstreams, their health, and how the balancer sees them.
type cluster struct {
	config  config.Cluster
	daemon  *Daemon
	log     *zap.Logger
	metrics *admin.Metrics

	kubeconfig *auth.Kubeconfig
	pool       *balancer.Pool[*proxy.Upstream]
	prober     *health.HTTPProber
	identity   *identityProber
	group      *health.Group
	groups     *apigroups.Table
	path       *proxy.Cluster // the data path's view

	background context.Context // set by start; ends the paced cuts
	cancel     context.CancelFunc
	work       sync.WaitGroup

	mu         sync.Mutex
	members    map[string]*member
	discovered []string // host:port, of the last successful lookup
	ending     bool     // no background work begins any more
	closed     bool

	everReady atomic.Bool // a server was, since the start
}

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
}

func (d *Daemon) newCluster(cfg config.Cluster) (*cluster, error) {
	c := &cluster{
		config:  cfg,
		daemon:  d,
		log:     d.log.With(zap.String("cluster", cfg.Name)),
		metrics: d.metrics,
		groups:  apigroups.New(),
		members: make(map[string]*member),
	}
	kubeconfig, err := auth.OpenKubeconfig(auth.KubeconfigOptions{
		Load:      cfg.Connection.Load,
		Files:     cfg.Connection.Files,
		Log:       c.log,
		Name:      d.ownCredential(cfg.Name),
		UserAgent: auth.UserAgent(d.options.Version),
		OnRefresh: d.metrics.CredentialRefresh,
		OnExpiry:  d.metrics.CredentialExpiry,
	})
	if err != nil {
		return nil, err
	}
	c.kubeconfig = kubeconfig
	c.pool = balancer.NewPool[*proxy.Upstream](cfg.Balancer, balancer.Options{
		OnBreaker: c.onBreaker,
		// The back-off of a DOWN server is longer than requests wait.
		StillWaiting: func() { c.group.ProbeNow("") },
	})
	c.prober = health.NewHTTPProber(health.HTTPProberOptions{
		TLS:         c.probeTLS,
		Proxy:       func(r *http.Request) (*url.URL, error) { return c.kubeconfig.Endpoint().Proxy(r) },
		Authorize:   c.authorize,
		Reauthorize: c.reauthorize,
		UserAgent:   auth.UserAgent(d.options.Version) + " health",
	})
	c.identity = newIdentityProber(c)
	c.group = health.NewGroup(cfg.HealthCheck, c.identity, health.Options{
		OnTransition: c.onTransition,
		OnProbe:      c.onProbe,
		OnTrouble:    c.onTrouble,
	})
	c.path = &proxy.Cluster{
		Name:        cfg.Name,
		Pool:        c.pool,
		Retry:       cfg.Balancer.Retry,
		Credentials: kubeconfig,
		Groups:      c.groups,
		UserAgent:   kubeconfig.Endpoint().UserAgent,
		Hooks: proxy.Hooks{
			Observe:         c.observe,
			NoUpstream:      func() { c.group.ProbeNow("") },
			Outlook:         c.outlook,
			Attempt:         c.countAttempt,
			Retry:           func(reason string) { c.metrics.Retry(cfg.Name, retryReason(reason)) },
			BudgetExhausted: func() { c.metrics.RetryBudgetExhausted(cfg.Name) },
		},
	}
	kubeconfig.OnChange(func(*auth.Endpoint) {
		c.log.Info("connection parameters changed; new connections use them")
		if err := c.update(); err != nil {
			c.log.Warn("the changed connection parameters cannot be used, the old ones stay", zap.Error(err))
		}
		c.daemon.dropTokensOf(cfg.Name) // they are bound to the servers of before
	})
	if err := c.refresh(); err != nil {
		return nil, err
	}
	return c, nil
}

// start begins the background work: probes, re-reading of files, discovery.
func (c *cluster) start(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.background = ctx
	run := func(what string, f func(context.Context) error) {
		c.work.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				c.log.Error(what+" ended", zap.Error(err))
			}
		})
	}
	run("kubeconfig watch", c.kubeconfig.Run)
	run("health checks", c.group.Run)
	run("discovery of API groups", func(ctx context.Context) error {
		return c.groups.Run(ctx, c.path.Get, 0, func(err error) { c.log.Debug("API groups are not known", zap.Error(err)) })
	})
	if c.config.Discovery.Mode == config.DiscoverEndpoints {
		run("discovery of API servers", c.discover)
	}
}

// close ends the background work and retires the connections: what is in
// flight goes on to its end.
func (c *cluster) close() {
	c.mu.Lock()
	c.ending = true
	c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
	c.work.Wait()
	c.kubeconfig.Close() // without the lock: a plugin's last answer may still call refresh
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for id, m := range c.members {
		m.upstream.Close()
		c.prober.Forget(id)
	}
	c.pool.Set(nil) // ends the breakers' timers
}

// update is refresh, made known to the peers.
func (c *cluster) update() error {
	if err := c.refresh(); err != nil {
		return err
	}
	c.daemon.mesh.learn()
	return nil
}

// refresh makes the set of upstreams what the kubeconfig, the configuration
// and the last discovery say. Upstreams that stay keep their connections,
// those that go finish what they carry.
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
			m.upstream, m.tls, m.announced, m.assumed = before.upstream, before.tls, before.announced, before.assumed
		} else {
			m.upstream, err = newUpstream(c.config.Name, id, m, endpoint)
			if err != nil {
				return err // with everything as it was
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

// verifies says whether a connection proves that the server is the cluster's.
// Without that an address out of the cluster is not used: whoever has it would
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

// observe passes what an attempt showed on to health.
func (c *cluster) observe(id string, o proxy.Observation, err error) {
	switch o {
	case proxy.ObservePass:
		c.group.ObservePass(id, time.Now().UnixNano())
	case proxy.ObserveShuttingDown:
		c.group.Observe(id, health.ShuttingDown)
	case proxy.ObserveRefused, proxy.ObserveCertificate:
		c.group.ObserveError(id, err)
	case proxy.ObserveTimeout:
		c.group.Observe(id, health.Timeout)
	case proxy.ObserveReset:
		c.group.Observe(id, health.Reset)
	case proxy.ObserveNothing:
	}
}

func (c *cluster) countAttempt(id, outcome string, firstByte time.Duration) {
	m := c.metrics.Upstream(c.config.Name, id)
	m.Request(outcome)
	if firstByte >= 0 {
		m.FirstByte(firstByte)
	}
}

// retryReason is the metric's name of the outcome that led to a retry.
func retryReason(outcome string) string {
	switch outcome {
	case admin.OutcomeReset, admin.OutcomeTimeout:
		return admin.RetryNoResponse
	}
	return outcome
}

// probeTLS returns the same pointer for as long as nothing has changed.
func (c *cluster) probeTLS(t health.Target) *tls.Config {
	if m := c.member(t.ID); m != nil {
		return m.tls
	}
	return nil
}

// authorize sets the cluster's own credential on a probe, and nothing of an
// impersonated user, who may not be allowed to ask.
func (c *cluster) authorize(ctx context.Context, t health.Target, h http.Header) error {
	lease, err := c.kubeconfig.Lease(ctx)
	if err != nil {
		return err
	}
	return c.setAuthorization(h, t, lease)
}

func (c *cluster) reauthorize(ctx context.Context, t health.Target, h http.Header) error {
	lease, err := c.kubeconfig.Lease(ctx)
	if err != nil {
		return err
	}
	if lease, err = c.kubeconfig.Refused(ctx, lease); err != nil {
		return err
	}
	return c.setAuthorization(h, t, lease)
}

// errOtherCluster is why a probe goes without the credential: that is of the
// kubeconfig as it is now, and the server of what it was.
var errOtherCluster = errors.New("the kubeconfig has just changed")

// setAuthorization holds a probe to what holds for requests: no credential in
// clear text, and none to a server of another generation of the kubeconfig.
func (c *cluster) setAuthorization(h http.Header, t health.Target, lease *auth.Lease) error {
	m := c.member(t.ID)
	if m == nil || m.generation != lease.EndpointGeneration() {
		return errOtherCluster
	}
	if secret := lease.Authorization(); !secret.IsEmpty() && t.URL.Scheme == "https" {
		h.Set("Authorization", secret.Reveal())
	}
	return nil
}
