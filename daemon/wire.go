package daemon

import (
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/proxy"
	"github.com/kuberelay/kuberelay/proxy/filter"
	"github.com/kuberelay/kuberelay/proxy/static"
)

// buildListeners makes what each address serves, and keeps the listener that is
// there.
func (d *Daemon) buildListeners(p, old *parts) error {
	for _, c := range p.config.Listeners {
		l := old.listener(c, p.listeners)
		kept := l != nil
		if !kept {
			var err error
			if l, err = d.newListener(c.Address); err != nil {
				return err
			}
		}
		s, err := d.newServing(p, c, l)
		if err != nil {
			return fmt.Errorf("listener %s: %w", c.Name, err)
		}
		p.listeners = append(p.listeners, l)
		if !kept {
			l.now.Store(s)
			p.fresh.listeners = append(p.fresh.listeners, l)
			p.fresh.add("listener", c.Name)
			continue
		}
		// It may be bound to all addresses, and lose its TLS now.
		for _, socket := range l.sockets {
			if err := c.CheckBound(socket.Addr()); err != nil {
				return err // which names the listener
			}
		}
		p.updates = append(p.updates, update{l, s})
	}
	return nil
}

// listener returns one of the same address that is not taken. Of several (on
// free ports) it prefers the one of the same name. It is nil on nil parts, or
// if there is none.
func (p *parts) listener(c config.Listener, taken []*listener) (found *listener) {
	if p == nil {
		return nil
	}
	for _, l := range p.listeners {
		if l.address != c.Address || slices.Contains(taken, l) {
			continue
		}
		if found == nil || l.config().Name == c.Name {
			found = l
		}
	}
	return found
}

// newServing connects a listener's gates to its cluster.
func (d *Daemon) newServing(p *parts, l config.Listener, at *listener) (*serving, error) {
	c := p.cluster(l.Cluster)
	if c == nil {
		return nil, fmt.Errorf("there is no cluster %q", l.Cluster)
	}
	o := proxy.Options{
		Listener:  l.Name,
		Cluster:   c.path,
		Registry:  &d.registry,
		Owner:     at,
		Recorder:  &recorder{metrics: d.metrics, listener: l.Name, access: d.accessLog(p.config), log: d.log},
		Log:       d.log,
		KeepAlive: l.KeepAlive,
		Tracing:   d.options.Tracing,
	}
	s := &serving{config: l}
	if l.TLS != nil {
		var err error
		if s.tls, err = d.certificatesFor(*l.TLS, at); err != nil {
			return nil, err
		}
	}
	if l.Mode == config.Shared {
		o.Shared = d.shared(l, at)
	} else if err := d.single(&o, l); err != nil {
		return nil, err
	}
	s.handler = proxy.NewHandler(o)
	return s, nil
}

// certificatesFor keeps those of the listener if the files are the same.
func (d *Daemon) certificatesFor(files config.ListenerTLS, at *listener) (*certificates, error) {
	if now := at.now.Load(); now != nil && now.tls != nil && now.tls.files == files {
		return now.tls, nil
	}
	return openCertificates(files)
}

// mintedFor is how long a token of kuberelay credential holds.
const mintedFor = 10 * time.Minute

// shared makes the gates of a shared listener.
func (d *Daemon) shared(l config.Listener, at *listener) *proxy.SharedOptions {
	s := &proxy.SharedOptions{
		Access:  &d.access,
		Cluster: l.Cluster,
		Hosts:   proxy.DefaultHosts(l.Address),
		Peer:    peerOf,
	}
	if l.TLS != nil {
		s.Stale = at.stale
	}
	if len(l.Hosts) > 0 {
		s.Hosts = proxy.CleanHosts(l.Hosts)
	}
	if slices.Contains(l.Identify, identify.UID) { // and the connection is of a Unix socket
		s.Mint = func(client string, uid uint32) (string, time.Time) { return d.minter.Mint(client, uid, mintedFor) }
	}
	return s
}

// single makes the gates of a single listener: kubectl proxy's.
func (d *Daemon) single(o *proxy.Options, l config.Listener) error {
	o.APIPrefix, o.AppendServerPath = l.APIPrefix, l.AppendServerPath
	if !l.Filter.Disabled {
		f, err := filter.New(l.Filter)
		if err != nil {
			return err
		}
		o.Filter = f
	}
	if l.StaticDir != "" {
		files, err := static.New(l.StaticDir, l.StaticPrefix)
		if err != nil {
			d.log.Warn("static files cannot be served yet", zap.Error(err))
		}
		o.Static, o.StaticPrefix = files, l.StaticPrefix
	}
	return nil
}

// accessLog is nil when requests are not logged.
func (d *Daemon) accessLog(c *config.Configuration) *zap.Logger {
	if !c.Log.AccessLog {
		return nil
	}
	return d.log.Named("access")
}

// serverLog is where net/http logs. Its lines are rare and matter (no more file
// descriptors, a panic in a handler), except for handshakes that fail: those
// are of strangers.
func serverLog(l *zap.Logger) (*log.Logger, error) {
	loud, err := zap.NewStdLogAt(l, zap.ErrorLevel)
	if err != nil {
		return nil, err
	}
	quiet, err := zap.NewStdLogAt(l, zap.DebugLevel)
	if err != nil {
		return nil, err
	}
	return log.New(serverLines{loud, quiet}, "", 0), nil
}

// serverLines sorts lines by importance.
type serverLines struct{ loud, quiet *log.Logger }

func (s serverLines) Write(line []byte) (int, error) {
	to := s.loud
	if strings.HasPrefix(string(line), "http: TLS handshake error") {
		to = s.quiet
	}
	to.Print(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}
