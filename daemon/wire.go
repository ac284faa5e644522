package daemon

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/proxy"
	"github.com/kuberelay/kuberelay/proxy/filter"
	"github.com/kuberelay/kuberelay/proxy/static"
)

// newListener connects a listener's gates to its cluster.
func (d *Daemon) newListener(l config.Listener) (*listener, error) {
	c := d.cluster(l.Cluster)
	if c == nil {
		return nil, fmt.Errorf("listener %s: there is no cluster %q", l.Name, l.Cluster)
	}
	o := proxy.Options{
		Listener:         l.Name,
		Cluster:          c.path,
		Registry:         &d.registry,
		Recorder:         &recorder{metrics: d.metrics, listener: l.Name, cluster: c.config.Name, access: d.accessLog()},
		Log:              d.log,
		APIPrefix:        l.APIPrefix,
		AppendServerPath: l.AppendServerPath,
		KeepAlive:        l.KeepAlive,
	}
	if !l.Filter.Disabled {
		f, err := filter.New(l.Filter)
		if err != nil {
			return nil, err
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
	// What net/http reports is rare and matters: no more file descriptors, a
	// panic in a handler.
	errorLog, err := zap.NewStdLogAt(d.log, zap.ErrorLevel)
	if err != nil {
		return nil, err
	}
	handler := proxy.NewHandler(o)
	return &listener{
		config:  l,
		handler: handler,
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: readHeaderTimeout,
			IdleTimeout:       idleTimeout,
			ErrorLog:          errorLog,
		},
	}, nil
}

func (d *Daemon) cluster(name string) *cluster {
	for _, c := range d.clusters {
		if c.config.Name == name {
			return c
		}
	}
	return nil
}

// accessLog is nil when requests are not logged.
func (d *Daemon) accessLog() *zap.Logger {
	if !d.config.Log.AccessLog {
		return nil
	}
	return d.log.Named("access")
}

// A request that waits this long for response headers makes health look at
// its server. Longer than nearly all answers take; a probe costs little.
const (
	stalledAfter = 250 * time.Millisecond
	stalledTick  = 100 * time.Millisecond
	// A request may be slow for good reasons (a webhook, a log without a
	// line): one server is not asked more often than it is probed anyway.
	stalledAgain = 2 * time.Second
)

// watchStalled finds servers that have stopped answering between two probes.
func (d *Daemon) watchStalled(ctx context.Context) {
	tick := time.NewTicker(stalledTick)
	defer tick.Stop()
	asked := make(map[string]time.Time) // by upstream
	for {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
		for id, at := range asked {
			if now.Sub(at) >= stalledAgain {
				delete(asked, id)
			}
		}
		for _, u := range d.registry.Stalled(stalledAfter) {
			if _, recently := asked[u.ID]; recently {
				continue
			}
			asked[u.ID] = now
			for _, c := range d.clusters {
				c.group.ProbeNow(u.ID)
			}
		}
	}
}
