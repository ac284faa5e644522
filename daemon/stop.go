package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
)

// Stop ends the daemon. Until ctx ends, requests in flight may finish:
// listeners close, watches and followed logs end at their next frame
// boundary, short requests and tunnels go on. What is left then is cut, which
// is the error. Stop returns when nothing of the daemon runs any more; after
// the first call it does nothing.
func (d *Daemon) Stop(ctx context.Context) (err error) {
	d.stop.Do(func() { err = d.shutdown(ctx) })
	return err
}

func (d *Daemon) shutdown(ctx context.Context) error {
	if n := d.registry.Len(); n > 0 {
		d.log.Info("draining", zap.Int("in-flight", n))
	}
	d.stopping.Store(true)
	d.reloading.Lock()
	d.stopped = true
	d.reloading.Unlock()
	p := d.parts.Load()
	d.events.Add(admin.Event{Kind: admin.EventProcess, Text: "stopping"})
	d.mesh.announceLeave()
	// Who reconnects when its watch ends must not come here again.
	for _, l := range p.listeners {
		l.close()
	}
	for _, l := range p.listeners {
		l.now.Load().handler.Drain()
	}
	var servers sync.WaitGroup
	for _, l := range p.listeners {
		if l.addr() == nil {
			continue
		}
		servers.Go(func() {
			// Its error is that ctx ended: awaitIdle finds what is left.
			_ = l.end(ctx)
		})
	}
	servers.Wait()
	// Tunnels are not the servers' any more, and the last of them may have
	// begun while the servers waited.
	err := d.awaitIdle(ctx)
	if err != nil {
		d.registry.Abort()
	}
	for _, l := range p.listeners {
		// Clients that keep their request's body back still have connections.
		// An error is about the listener, which is closed already.
		_ = l.server.Close()
	}
	if err != nil { // what was cut takes note of it
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_ = d.awaitIdle(bounded)
		cancel()
	}
	if d.admin != nil {
		// Scrapes are short; after a second they are cut.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		_ = d.admin.Shutdown(bounded)
		cancel()
	}
	if d.control != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		d.control.stop(bounded)
		cancel()
	}
	// Not before: a revocation has to end what is in flight here, too.
	d.mesh.leave(ctx)
	d.cancel()
	d.work.Wait()
	d.mesh.stop()
	if unwritten := d.intents.flush(); unwritten != nil {
		d.log.Error("the last decisions are not kept over the restart", zap.Error(unwritten))
	}
	for _, c := range p.credentials {
		c.close()
	}
	for _, c := range p.clusters {
		c.close()
	}
	return errors.Join(err, p.audit.Close())
}

// awaitIdle waits until no request is in flight.
func (d *Daemon) awaitIdle(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n := d.registry.Len()
		if n == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d requests were still in flight when the grace time ended, and were cut", n)
		}
	}
}
