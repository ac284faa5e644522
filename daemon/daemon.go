package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/proxy"
)

// Options are what a daemon is given besides its configuration.
type Options struct {
	// Log is where the daemon logs; nil: nowhere.
	Log *zap.Logger
	// Level is Log's level, if it can be changed at run time; else nil.
	Level *zap.AtomicLevel
	// Version is shown in status, metrics and the User-Agent.
	Version string
	// ConfigFile is the path of the configuration file, which is read again
	// with Load when it changes and on request. Empty: there is none.
	ConfigFile string
	// Load reads the configuration file. Its error has one line for each
	// problem.
	Load func() (*config.Configuration, error)
	// Inherited are the sockets of listeners whose address is systemd:NAME.
	// They remain the caller's.
	Inherited listen.Inherited
	// Tracing makes spans of requests; nil: none. The caller sends them, even
	// after the daemon has stopped.
	Tracing *proxy.Tracing
}

// Daemon is one running kuberelay.
type Daemon struct {
	options Options
	log     *zap.Logger
	started time.Time

	metrics  *admin.Metrics
	admin    *admin.Server // nil: off
	control  *control      // nil: off
	registry proxy.Registry
	intents  *intents
	mesh     *mesh // nil: gossip is off
	events   admin.Events
	minter   *identify.Minter
	issuers  *identify.Issuers
	tallies  tallies
	// addresses are this host's.
	addresses hostAddresses

	reloading sync.Mutex                   // held while the parts are replaced
	stopped   bool                         // guarded by reloading: no reload begins any more
	parts     atomic.Pointer[parts]        // what the configuration in force is made of
	access    atomic.Pointer[proxy.Access] // who may do what through shared listeners
	reloads   atomic.Pointer[reloadState]

	// publishing is held while another generation of access is published, and
	// while something is decided: from a look at what holds until it is in force
	// and told. Taken after reloading.
	publishing sync.Mutex

	stopping   atomic.Bool // told to stop: clients are to go elsewhere
	background context.Context
	cancel     context.CancelFunc // ends the background work
	work       sync.WaitGroup     // the background work
	failed     chan error         // cap 1: a listener broke
	stop       sync.Once
}

// New builds a daemon. It reads the files that the configuration names and
// contacts nobody. An error leaves nothing open.
func New(cfg *config.Configuration, o Options) (*Daemon, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	d := &Daemon{
		options: o, log: o.Log, failed: make(chan error, 1),
		metrics: admin.NewMetrics(admin.Build{Version: o.Version}),
		minter:  identify.NewMinter(time.Now),
		issuers: identify.NewIssuers(time.Now),
	}
	d.background, d.cancel = context.WithCancel(context.Background())
	d.reloads.Store(&reloadState{loaded: time.Now(), hash: hashFile(o.ConfigFile)})
	var err error
	if d.intents, err = openIntents(cfg.StateFile, d.log); err != nil {
		return nil, err
	}
	p, err := d.build(cfg, nil)
	if err != nil {
		return nil, err
	}
	d.parts.Store(p)
	d.access.Store(p.access)
	d.tellRevoked()
	if err := d.open(cfg); err != nil {
		p.fresh.close()
		d.cancel()
		return nil, err
	}
	return d, nil
}

// open makes what a reload leaves alone: gossip, the admin server and the
// control socket. They are started later.
func (d *Daemon) open(cfg *config.Configuration) (err error) {
	if d.mesh, err = d.newMesh(cfg.Gossip); err != nil {
		return err
	}
	o := d.options
	shown := admin.Options{Status: d.Status, Ready: d.Ready, Registry: d.metrics.Registry(), Log: d.log.Named("admin")}
	if o.ConfigFile != "" {
		shown.Source, shown.Hosts = "admin.address", "admin.hosts"
		d.metrics.Reload(true, time.Now())
	}
	if cfg.Admin.Address != "" {
		if d.admin, err = admin.New(cfg.Admin, shown); err != nil {
			return err
		}
	}
	if cfg.Admin.ControlSocket != "" {
		if d.control, err = d.newControl(cfg.Admin.ControlSocket, shown); err != nil {
			return err
		}
	}
	return nil
}

// Start opens the listeners and begins to probe and serve. It is an error if
// servers named for one cluster turn out to belong to different ones. ctx
// bounds the start alone; [Daemon.Stop] ends what it began, even after an
// error.
func (d *Daemon) Start(ctx context.Context) error {
	d.started = time.Now()
	d.intents.tell()
	p := d.parts.Load()
	for _, l := range p.listeners {
		if err := l.open(ctx); err != nil {
			return err
		}
	}
	if d.admin != nil {
		if err := d.admin.Start(d.background); err != nil {
			return err
		}
		d.work.Go(d.watchAdmin)
		d.log.Info("admin server listening", zap.String("address", d.admin.Addr().String()))
		if !listen.Loopback(d.admin.Addr()) {
			d.log.Warn("the admin server is not on a loopback address: everyone who reaches it sees the status and the metrics")
		}
	}
	if d.control != nil {
		if err := d.control.start(ctx); err != nil {
			return err
		}
	}
	for _, c := range p.clusters {
		if err := c.checkIdentity(ctx); err != nil {
			return err
		}
	}
	if err := d.mesh.start(ctx); err != nil {
		return err
	}
	for _, c := range p.clusters {
		c.start(d.background)
	}
	for _, c := range p.credentials {
		c.start(d.background)
	}
	d.work.Go(func() { d.intents.keepWriting(d.background) })
	d.work.Go(func() { d.mesh.watchIsolation(d.background) })
	d.work.Go(func() { d.watchStalled(d.background) })
	d.work.Go(func() { d.watchExpiry(d.background) })
	d.work.Go(func() { d.watchFiles(d.background) })
	for _, l := range p.listeners {
		l.serve()
	}
	d.events.Add(admin.Event{Kind: admin.EventProcess, Text: "started"})
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
	for _, l := range d.parts.Load().listeners {
		if l.config().Name == name {
			return l.addr()
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

// Ready is nil when every cluster has an upstream that may be used, until the
// daemon is told to stop.
func (d *Daemon) Ready() error {
	if d.stopping.Load() {
		return errStopping
	}
	var errs []error
	for _, c := range d.parts.Load().clusters {
		if c.pool.Eligible() == 0 {
			errs = append(errs, fmt.Errorf("cluster %s: no API server is usable%s", c.config.Name, c.why()))
		}
	}
	return errors.Join(errs...)
}
