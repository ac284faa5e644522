package daemon

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/health"
)

// Status is what /api/v1/status shows.
func (d *Daemon) Status() admin.Status {
	p := d.parts.Load()
	s := admin.Status{
		Version:       d.options.Version,
		StartedAt:     d.started,
		UptimeSeconds: int64(time.Since(d.started).Seconds()),
		Draining:      d.stopping.Load(),
		InFlight:      d.inFlight(),
		Config:        d.configStatus(),
	}
	for _, c := range p.clusters {
		s.Clusters = append(s.Clusters, c.status())
	}
	for _, l := range p.listeners {
		s.Listeners = append(s.Listeners, l.status())
	}
	for _, c := range p.config.Credentials {
		s.Credentials = append(s.Credentials, p.credentials[c.Name].status())
	}
	if p.audit != nil {
		s.Audit = &admin.AuditStatus{Blocks: p.audit.Blocks()}
		if err := p.audit.Healthy(); err != nil {
			s.Audit.Error = err.Error()
		}
	}
	if d.admin != nil {
		if err := d.admin.Err(); err != nil {
			s.AdminError = err.Error()
		}
	}
	d.mesh.fill(&s)
	s.Events = d.events.Latest()
	s.Clients = d.clientStatus()
	s.ClientsTotal = len(s.Clients)
	return s
}

func (d *Daemon) configStatus() *admin.ConfigStatus {
	if d.options.ConfigFile == "" {
		return nil
	}
	r := d.reloads.Load()
	s := &admin.ConfigStatus{File: d.options.ConfigFile, Hash: d.parts.Load().hash, FileHash: r.hash, LoadedAt: r.loaded}
	if r.at.IsZero() {
		return s
	}
	s.LastReload = &admin.ReloadStatus{At: r.at, OK: r.err == nil}
	if r.err != nil {
		s.LastReload.Error = r.err.Error()
	}
	return s
}

func (l *listener) status() admin.ListenerStatus {
	s := l.now.Load()
	status := admin.ListenerStatus{
		Name: s.config.Name, Address: l.address, Mode: string(s.config.Mode), Cluster: s.config.Cluster, TLS: s.tls != nil,
	}
	if addr := l.addr(); addr != nil {
		status.Address = addr.String()
	}
	for _, m := range s.config.Identify {
		status.Identify = append(status.Identify, string(m))
	}
	return status
}

func (d *Daemon) clientStatus() []admin.ClientStatus {
	a := d.access.Load()
	now := time.Now()
	clients := make([]admin.ClientStatus, 0, len(a.Clients))
	for name, c := range a.Clients {
		u := c.Limiter.Usage()
		s := admin.ClientStatus{
			Name: name, InFlight: int64(u.InFlight), Watches: int64(u.Watches), Upgrades: int64(u.Upgrades),
			Requests: c.Seen.Requests(), LastSeen: c.Seen.Last(),
		}
		if until, revoked := a.Revoked[name]; revoked && (until.IsZero() || now.Before(until)) {
			s.Revoked, s.RevokedUntil = true, until
		}
		clients = append(clients, s)
	}
	return clients
}

func (d *Daemon) inFlight() admin.InFlightStatus {
	counts := d.registry.Counts()
	return admin.InFlightStatus{
		Requests: int64(counts[""]), Watches: int64(counts["watch"]),
		Logs: int64(counts["log"]), Upgrades: int64(counts["upgrade"]),
	}
}

func (c *cluster) status() admin.ClusterStatus {
	s := admin.ClusterStatus{Name: c.config.Name, Policy: string(c.config.Balancer.Policy), Ready: c.pool.Eligible() > 0}
	if !s.Ready {
		s.Reason = "no API server is usable" + c.why()
	}
	for _, m := range c.pool.Status() {
		st, _ := c.group.Status(m.ID)
		s.Upstreams = append(s.Upstreams, admin.UpstreamStatus{
			ID: m.ID, URL: st.URL, Source: c.source(m.ID), State: st.State.String(), Since: st.Since,
			Reason: st.Reason, Breaker: m.Breaker.String(), Draining: m.Draining,
			InFlight: m.InFlight, Streams: m.Streams, Weight: math.Round(m.Weight*100) / 100,
			LastProbe: st.LastProbe, LastError: st.LastError,
			Latency: c.metrics.Upstream(c.config.Name, m.ID).Latency(),
		})
	}
	return s
}

// outlook says why no server can be used. Waiting for one helps when there was
// one before; coming back does not where all are misconfigured.
func (c *cluster) outlook() (why string, wait, retry bool) {
	misconfigured := true
	for _, st := range c.group.Snapshot() {
		misconfigured = misconfigured && st.State == health.Misconfigured
	}
	return strings.TrimPrefix(c.why(), "; "), c.everReady.Load() && !misconfigured, !misconfigured
}

// why gathers each upstream's reason, for people.
func (c *cluster) why() string {
	var b strings.Builder
	for _, st := range c.group.Snapshot() {
		fmt.Fprintf(&b, "; %s is %s", st.ID, st.State)
		if st.Reason != "" {
			fmt.Fprintf(&b, " (%s)", st.Reason)
		}
	}
	return b.String()
}
