package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/proxy"
)

// Options are what a daemon is given beside its configuration.
type Options struct {
	// Log gets what happens; nil: nothing is logged.
	Log *zap.Logger
	// Version is shown in status, metrics and the User-Agent.
	Version string
}

// Daemon is one running kuberelay.
type Daemon struct {
	config  *config.Configuration
	options Options
	log     *zap.Logger
	started time.Time

	metrics   *admin.Metrics
	admin     *admin.Server // nil: off
	registry  proxy.Registry
	clusters  []*cluster
	listeners []*listener

	cancel context.CancelFunc // ends the background work
	work   sync.WaitGroup     // what it consists of
	failed chan error         // cap 1: a listener broke
	stop   sync.Once
}

// listener is one address and what serves it.
type listener struct {
	config  config.Listener
	handler *proxy.Handler
	server  *http.Server
	socket  net.Listener
}

// readHeaderTimeout and idleTimeout bound what a client may leave open
// without a request.
const (
	readHeaderTimeout = 30 * time.Second
	idleTimeout       = 5 * time.Minute
)

// New builds a daemon. It reads the kubeconfigs and contacts nobody.
func New(cfg *config.Configuration, o Options) (*Daemon, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	d := &Daemon{config: cfg, options: o, log: o.Log, failed: make(chan error, 1)}
	d.metrics = admin.NewMetrics(admin.Build{Version: o.Version})
	for _, c := range cfg.Clusters {
		built, err := d.newCluster(c)
		if err != nil {
			return nil, err
		}
		d.clusters = append(d.clusters, built)
	}
	for _, l := range cfg.Listeners {
		built, err := d.newListener(l)
		if err != nil {
			return nil, err
		}
		d.listeners = append(d.listeners, built)
	}
	if cfg.Admin.Address != "" {
		server, err := admin.New(cfg.Admin, admin.Options{
			Status: d.Status, Ready: d.Ready, Registry: d.metrics.Registry(), Log: o.Log.Named("admin"),
		})
		if err != nil {
			return nil, err
		}
		d.admin = server
	}
	return d, nil
}

// Start opens the listeners and begins to probe and serve. Servers named for
// one cluster that turn out to be another's are an error here. ctx bounds the
// start alone; [Daemon.Stop] ends what it began, also after an error.
func (d *Daemon) Start(ctx context.Context) error {
	d.started = time.Now()
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.cancel = cancel
	for _, l := range d.listeners {
		socket, err := listen.Listen(ctx, l.config.Address, listen.Options{Log: d.log})
		if err != nil {
			return err
		}
		l.socket = socket
	}
	if d.admin != nil {
		if err := d.admin.Start(background); err != nil {
			return err
		}
		d.log.Info("admin server listening", zap.String("address", d.admin.Addr().String()))
		if !listen.Loopback(d.admin.Addr()) {
			d.log.Warn("the admin server is not on a loopback address: everyone who reaches it sees the status and the metrics")
		}
	}
	for _, c := range d.clusters {
		if err := c.checkIdentity(ctx); err != nil {
			return err
		}
	}
	for _, c := range d.clusters {
		c.start(background, &d.work)
	}
	d.work.Go(func() { d.watchStalled(background) })
	for _, l := range d.listeners {
		if addr := l.socket.Addr(); !listen.Loopback(addr) {
			d.log.Warn("the listener is not on a loopback address: everyone who reaches it calls the cluster with this kubeconfig's credential",
				zap.String("address", addr.String()))
		}
		d.work.Go(func() {
			err := l.server.Serve(l.socket)
			if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) { // Stop closes both
				d.fail(fmt.Errorf("listener %s: %w", l.config.Name, err))
			}
		})
	}
	return nil
}

func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default: // one is enough
	}
}

// Failed delivers the error of a listener that broke while it ran.
func (d *Daemon) Failed() <-chan error { return d.failed }

// Addr is the address of a started listener; nil if there is none of the name.
func (d *Daemon) Addr(name string) net.Addr {
	for _, l := range d.listeners {
		if l.config.Name == name && l.socket != nil {
			return l.socket.Addr()
		}
	}
	return nil
}

// AdminAddr is the address of the admin server; nil if it is off.
func (d *Daemon) AdminAddr() net.Addr {
	if d.admin == nil {
		return nil
	}
	return d.admin.Addr()
}

// Ready is nil when every cluster has an upstream that may be used.
func (d *Daemon) Ready() error {
	var errs []error
	for _, c := range d.clusters {
		if c.pool.Eligible() == 0 {
			errs = append(errs, fmt.Errorf("cluster %s: no API server is usable%s", c.config.Name, c.why()))
		}
	}
	return errors.Join(errs...)
}
