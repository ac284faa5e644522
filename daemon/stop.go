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
	p.closeListeners()
	d.registry.Drain()
	err := d.finish(ctx, p)
	d.stopParts(ctx, p)
	return errors.Join(err, p.audit.Close())
}

// closeListeners stops accepting, and has new watches end: a client that
// reconnects when its watch ends must not come here again.
func (p *parts) closeListeners() {
	for _, l := range p.listeners {
		l.close()
	}
	for _, l := range p.listeners {
		l.now.Load().handler.Drain()
	}
}

// finish lets the requests in flight end, and cuts what is left when ctx ends,
// which is the error.
func (d *Daemon) finish(ctx context.Context, p *parts) error {
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
		// Clients that hold their request's body back still have connections.
		// An error is about the listener, which is closed already.
		_ = l.server.Close()
	}
	if err != nil { // lets what was cut go on record
		within(ctx, time.Second, func(ctx context.Context) { _ = d.awaitIdle(ctx) })
	}
	return err
}

// stopParts ends what runs beside the listeners.
func (d *Daemon) stopParts(ctx context.Context, p *parts) {
	if d.admin != nil {
		// Scrapes are short; after a second they are cut.
		within(ctx, time.Second, func(ctx context.Context) { _ = d.admin.Shutdown(ctx) })
	}
	if d.control != nil {
		within(ctx, time.Second, d.control.stop)
	}
	// Not before: a revocation has to end what is in flight here, too.
	within(ctx, leaveTimeout, d.mesh.leave)
	d.cancel()
	d.work.Wait()
	d.issuers.Close() // a fetch outlives the request that needed it
	d.mesh.stop()
	if unwritten := d.intents.flush(); unwritten != nil {
		d.log.Error("the last decisions cannot be kept over a restart", zap.Error(unwritten))
	}
	for _, c := range p.credentials {
		c.close()
	}
	for _, c := range p.clusters {
		c.close()
	}
}

// within calls f with a context that ends after a time, even if ctx has ended
// already.
func within(ctx context.Context, limit time.Duration, f func(context.Context)) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	f(bounded)
}

// awaitIdle waits until no request is in flight.
func (d *Daemon) awaitIdle(ctx context.Context) error {
	var n int
	if poll(ctx, 10*time.Millisecond, func() bool { n = d.registry.Len(); return n == 0 }) {
		return nil
	}
	return fmt.Errorf("%d requests were still in flight when the grace time ended, and were cut", n)
}

// poll asks again and again whether it is done, and returns whether it was when
// ctx ended.
func poll(ctx context.Context, every time.Duration, done func() bool) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
