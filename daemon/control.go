package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/internal/peer"
)

// control is the operators' socket.
type control struct {
	path   string
	log    *zap.Logger
	server *admin.Control
	socket net.Listener
	work   sync.WaitGroup
	failed func(error)
}

// Bounds of the control socket: who may connect, and how many at once.
const (
	controlMode        = 0o660
	controlConnections = 64
)

func (d *Daemon) newControl(path string, shown admin.Options) (*control, error) {
	server, err := admin.NewControl(admin.ControlOptions{
		Options: shown,
		Operations: admin.Operations{
			Reload: d.reload, Drain: d.Drain, Revoke: d.Revoke, Unrevoke: d.Unrevoke, LogLevel: d.setLogLevel,
		},
		PeerUID: func(c net.Conn) (uint32, bool) {
			p := peer.Of(c)
			return p.UID, p.Known
		},
	})
	if err != nil {
		return nil, err
	}
	return &control{path: path, log: d.log, server: server, failed: d.fail}, nil
}

func (c *control) start(ctx context.Context) error {
	socket, err := listen.Listen(ctx, listen.Unix(c.path), listen.Options{Log: c.log, SocketMode: controlMode, MaxConnections: controlConnections})
	if err != nil {
		return fmt.Errorf("admin.controlSocket: %w", err)
	}
	c.socket = socket
	c.log.Info("control socket listening", zap.String("path", c.path))
	c.work.Go(func() {
		if err := c.server.Serve(socket); err != nil && !errors.Is(err, net.ErrClosed) {
			c.failed(err)
		}
	})
	return nil
}

func (c *control) stop(ctx context.Context) {
	if c.socket == nil {
		return
	}
	_ = c.server.Shutdown(ctx) // its error is that ctx ended, and connections were cut
	c.work.Wait()
}

// Drain takes an upstream out of use, or puts it back, on all nodes that
// gossip. Watches there end at their next frame boundary and begin again
// elsewhere; short requests and tunnels go on. The decision outlives a restart
// if there is a state file; with an error that wraps [errNotKept] it does not.
func (d *Daemon) Drain(cluster, upstream string, on bool) error {
	c := d.parts.Load().cluster(cluster)
	if c == nil {
		return &admin.NotFoundError{Kind: "cluster", Name: cluster, Have: d.clusterNames()}
	}
	if ids := c.upstreamIDs(); on && !slices.Contains(ids, upstream) {
		return &admin.NotFoundError{Kind: "upstream", Name: upstream, In: "cluster " + cluster, Have: ids}
	}
	_, err := d.drain(c, upstream, on)
	if err == nil || errors.Is(err, errNotKept) {
		d.mesh.drained(cluster, upstream, on)
	}
	return err
}

// drain puts a decision about an upstream into force here. It returns false if
// it was already.
func (d *Daemon) drain(c *cluster, upstream string, on bool) (changed bool, err error) {
	if d.intents.isDrained(c.config.Name, upstream) == on {
		return false, nil
	}
	if err = d.intents.drain(c.config.Name, upstream, on); err != nil && !errors.Is(err, errNotKept) {
		return false, err
	}
	c.pool.Drain(upstream, on)
	text := "back in use"
	if on {
		text = "drained"
		c.leave(upstream)
	}
	d.events.Add(admin.Event{Kind: admin.EventDrain, Cluster: c.config.Name, Upstream: upstream, Text: text})
	return true, err
}

// Revoke refuses a client from now on, on all nodes that gossip, and ends what
// it has open. The zero time means until it is lifted. The decision outlives a
// restart if there is a state file; with an error that wraps [errNotKept] it
// does not.
func (d *Daemon) Revoke(client string, until time.Time, reason string) (cut int, err error) {
	if d.access.Load().Clients[client] == nil {
		return 0, &admin.NotFoundError{Kind: "client", Name: client, Have: d.clientNames()}
	}
	cut, err = d.revoke(client, until, reason)
	d.mesh.revoked(client, true, until, reason)
	return cut, err
}

func (d *Daemon) revoke(client string, until time.Time, reason string) (cut int, err error) {
	d.publishing.Lock() // and no other lock: a reload that hangs must not delay a revocation
	defer d.publishing.Unlock()
	err = d.intents.revoke(client, until, reason)
	d.events.Add(admin.Event{Kind: admin.EventRevoke, Client: client, Text: "revoked: " + reason})
	return d.republish(), err
}

// Unrevoke lets a client in again, on all nodes that gossip.
func (d *Daemon) Unrevoke(client string) error {
	if err := d.unrevoke(client); err != nil {
		return err
	}
	d.mesh.revoked(client, false, time.Time{}, "")
	return nil
}

func (d *Daemon) unrevoke(client string) error {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	if err := d.intents.unrevoke(client); err != nil {
		return err
	}
	d.events.Add(admin.Event{Kind: admin.EventRevoke, Client: client, Text: "may call again"})
	d.republish()
	return nil
}

// revokeAs puts another node's decision about a client into force here. It
// returns false if it was already.
func (d *Daemon) revokeAs(client string, i gossip.Intent) (changed bool, err error) {
	until, revoked := d.intents.revocations()[client]
	switch {
	case !i.On && !revoked, i.On && revoked && until.Equal(i.Until):
		return false, nil
	case i.On:
		_, err = d.revoke(client, i.Until, i.Reason)
	default:
		err = d.unrevoke(client)
	}
	return true, err
}

// republish publishes the current revocations. d.publishing is held.
func (d *Daemon) republish() (cut int) {
	next := *d.access.Load()
	next.Revoked = d.intents.revocations()
	return d.publish(&next)
}

func (d *Daemon) clusterNames() []string {
	var names []string
	for _, c := range d.parts.Load().clusters {
		names = append(names, c.config.Name)
	}
	return names
}

func (d *Daemon) clientNames() []string { return slices.Sorted(maps.Keys(d.access.Load().Clients)) }

// upstreamIDs are the cluster's upstreams, in the order of their use.
func (c *cluster) upstreamIDs() []string {
	var ids []string
	for _, m := range c.pool.Status() {
		ids = append(ids, m.ID)
	}
	return ids
}
