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
	s := admin.Status{
		Version:       d.options.Version,
		StartedAt:     d.started,
		UptimeSeconds: int64(time.Since(d.started).Seconds()),
		InFlight:      d.inFlight(),
	}
	for _, c := range d.clusters {
		s.Clusters = append(s.Clusters, c.status())
	}
	for _, l := range d.listeners {
		address := l.config.Address
		if l.socket != nil {
			address = l.socket.Addr().String()
		}
		s.Listeners = append(s.Listeners, admin.ListenerStatus{
			Name: l.config.Name, Address: address, Mode: string(l.config.Mode), Cluster: l.config.Cluster,
		})
	}
	return s
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
	states := make(map[string]health.Status)
	for _, st := range c.group.Snapshot() {
		states[st.ID] = st
	}
	for _, m := range c.pool.Status() {
		st := states[m.ID]
		s.Upstreams = append(s.Upstreams, admin.UpstreamStatus{
			ID: m.ID, URL: st.URL, Source: c.source(m.ID), State: st.State.String(), Since: st.Since,
			Reason: st.Reason, Breaker: m.Breaker.String(), Draining: m.Draining,
			InFlight: m.InFlight, Streams: m.Streams, Weight: math.Round(m.Weight*100) / 100,
			LastProbe: st.LastProbe, LastError: st.LastError,
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
