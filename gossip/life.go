package gossip

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Start listens, and joins the peers in the background: it is no error if none
// is there. Nor is it one if the node cannot listen for a reason that may pass:
// that is logged, returned by [Mesh.Trouble], and tried again. A configuration
// that is wrong or ambiguous is an error. ctx bounds the first attempt, as do two
// seconds.
func (m *Mesh) Start(ctx context.Context) error {
	m.starting.Lock()
	defer m.starting.Unlock()
	if m.started || m.stopped {
		return errors.New("gossip: a mesh starts once")
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	var loops context.Context
	loops, m.stopLoops = context.WithCancel(m.ctx)
	m.mu.Lock()
	m.publishSelf(false)
	m.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, firstOpening)
	err := m.open(bounded, m.config)
	cancel()
	if err != nil && (ctx.Err() != nil || !passes(err)) {
		m.stop()
		return err
	}
	m.started = true
	m.wg.Go(func() { m.notify(m.ctx) })
	m.wg.Go(func() { m.maintain(loops) })
	if err != nil {
		c := m.config // Reload changes none of the addresses.
		m.opening.Go(func() { m.keepOpening(loops, c, err) })
		return nil
	}
	m.meet(loops)
	return nil
}

// AnnounceLeave tells the peers that this node is about to leave. Until it does,
// by [Mesh.Leave], it is one of them.
func (m *Mesh) AnnounceLeave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.self.leaving {
		m.self.leaving = true
		m.publishSelf(true)
	}
}

// Leave tells the peers that this node leaves, so that they do not look for it
// and its name is free at once. It returns when that is sent, when ctx ends, or
// after five seconds. Stop comes after it.
func (m *Mesh) Leave(ctx context.Context) error {
	m.starting.Lock()
	defer m.starting.Unlock()
	if !m.started || m.left || m.stopped {
		return nil
	}
	m.left = true
	m.stopLoops() // Otherwise the node would join again.
	m.opening.Wait()
	members := m.members.Load()
	if members == nil {
		return nil
	}
	m.mu.Lock()
	m.self.leaving = true
	m.publishSelf(true)
	m.mu.Unlock()
	if m.alive.Load() > 0 {
		// A peer that has heard it takes this node for left, others for failed.
		m.wait(ctx, 2*m.profile.GossipInterval)
	}
	timeout := leaveTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	if err := members.Leave(timeout); err != nil {
		return fmt.Errorf("gossip: peers may take this node for failed: %w", err)
	}
	return nil
}

// wait returns after d, or at the end of ctx.
func (m *Mesh) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

const leaveTimeout = 5 * time.Second

// Stop ends everything, unregisters the metrics, and returns when no hook runs
// any more. Without Leave before it, peers take the node for failed. It can be
// called again.
func (m *Mesh) Stop() error {
	m.starting.Lock()
	defer m.starting.Unlock()
	if m.stopped {
		return nil
	}
	m.stopped = true
	var err error
	if m.started {
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		m.stopLoops()
		m.opening.Wait()
		if members := m.members.Load(); members != nil {
			err = members.Shutdown()
		}
		m.stop()
		m.wg.Wait()
	}
	m.metrics.unregister(m.options.Registerer)
	return err
}
