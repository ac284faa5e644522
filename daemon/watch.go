package daemon

import (
	"context"
	"time"

	"github.com/kuberelay/kuberelay/proxy"
)

// A request that waits this long for response headers has its server probed.
// Nearly all answers take less, and a probe costs little.
const (
	stalledAfter = 250 * time.Millisecond
	stalledTick  = 100 * time.Millisecond
	// A request may be slow for good reasons (a webhook, a log without a line):
	// a server is not probed for that more often than it is anyway.
	stalledAgain = 2 * time.Second
)

// expiryTick is how often streams are checked for an expired token or
// certificate of their client.
const expiryTick = 250 * time.Millisecond

// stalledServer is an API server of one cluster.
type stalledServer struct{ cluster, id string }

// watchStalled finds servers that have stopped answering between two probes.
func (d *Daemon) watchStalled(ctx context.Context) {
	tick := time.NewTicker(stalledTick)
	defer tick.Stop()
	asked := make(map[stalledServer]time.Time)
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
			server := stalledServer{u.Cluster, u.ID}
			if _, recently := asked[server]; recently {
				continue
			}
			asked[server] = now
			if c := d.parts.Load().cluster(u.Cluster); c != nil {
				c.group.ProbeNow(u.ID)
			}
		}
	}
}

// watchExpiry ends streams that have outlived the token or certificate that
// identified their client.
func (d *Daemon) watchExpiry(ctx context.Context) {
	tick := time.NewTicker(expiryTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			a := d.access.Load()
			d.registry.Review(func(c *proxy.Caller) error { return a.ReviewIdentity(c, now) })
		}
	}
}
