package daemon

import (
	"context"
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
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/internal/apigroups"
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

	publishing sync.Mutex // held from a look at an upstream until the peers are told

	everReady atomic.Bool // some server has been READY since the start
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
		// Requests do not wait as long as a DOWN server's back-off lasts.
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
		c.daemon.dropTokensOf(cfg.Name) // they are bound to the previous servers
	})
	if err := c.refresh(); err != nil {
		return nil, err
	}
	return c, nil
}

// start begins the background work: probes, watching files, discovery.
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

// close ends the background work and retires the connections: requests in
// flight go on to their end.
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

// observe tells health what an attempt has shown.
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

// retryReason maps the outcome that led to a retry to the label of the metric.
func retryReason(outcome string) string {
	switch outcome {
	case admin.OutcomeReset, admin.OutcomeTimeout:
		return admin.RetryNoResponse
	}
	return outcome
}
