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
// if there is a state file; with an error that wraps [errNotKept] it does not,
// and with one that wraps [errNotTold] it holds here alone.
func (d *Daemon) Drain(cluster, upstream string, on bool) error {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.mesh.follow()
	c := d.parts.Load().cluster(cluster)
	// What is drained and not configured any more can be used when it is back.
	if away := !on && d.intents.isDrained(cluster, upstream); !away {
		if c == nil {
			return &admin.NotFoundError{Kind: "cluster", Name: cluster, Have: d.clusterNames()}
		}
		if ids := c.upstreamIDs(); !slices.Contains(ids, upstream) {
			return &admin.NotFoundError{Kind: "upstream", Name: upstream, In: "cluster " + cluster, Have: ids}
		}
	}
	keys := d.keysOf(c, cluster, upstream, on)
	before := d.intents.snapshot()
	err := d.intents.drain(cluster, upstream, on, keys...)
	if err != nil && !errors.Is(err, errNotKept) {
		return err
	}
	d.enforce(before)
	if d.mesh != nil && len(keys) == 0 {
		return errors.Join(err, fmt.Errorf("%w: the server is not configured here any more, and what they know it by was not kept; undrain it there, too", errNotTold))
	}
	return errors.Join(err, d.mesh.tell())
}

// keysOf are what peers know an upstream by, and, if it is drained, knew it by
// when that was decided: the certificates of its authority may have changed.
func (d *Daemon) keysOf(c *cluster, name, upstream string, on bool) (keys []string) {
	if c != nil {
		if m := c.member(upstream); m != nil {
			keys = append(keys, m.key)
		}
	}
	if old := d.intents.keyOf(name, upstream); !on && old != "" && !slices.Contains(keys, old) {
		keys = append(keys, old)
	}
	return keys
}

// Revoke refuses a client from now on, on all nodes that gossip, and ends what
// it has open. The zero time means until it is lifted. The decision outlives a
// restart if there is a state file; with an error that wraps [errNotKept] it
// does not, and with one that wraps [errNotTold] it holds here alone.
func (d *Daemon) Revoke(client string, until time.Time, reason string) (cut int, err error) {
	d.publishing.Lock() // and not reloading: a reload that hangs must not delay a revocation
	defer d.publishing.Unlock()
	if d.access.Load().Clients[client] == nil {
		return 0, &admin.NotFoundError{Kind: "client", Name: client, Have: d.clientNames()}
	}
	d.mesh.follow()
	before := d.intents.snapshot()
	err = d.intents.revoke(client, until, reason)
	_, cut = d.enforce(before)
	return cut, errors.Join(err, d.mesh.tell())
}

// Unrevoke lets a client in again, on all nodes that gossip.
func (d *Daemon) Unrevoke(client string) error {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	d.mesh.follow()
	before := d.intents.snapshot()
	if err := d.intents.unrevoke(client); err != nil {
		return err
	}
	d.enforce(before)
	return d.mesh.tell()
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
