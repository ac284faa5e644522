package gossip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// Start listens, and joins the peers in the background: it is no error if none
// is there. ctx bounds the lookup of this node's own addresses.
func (m *Mesh) Start(ctx context.Context) error {
	m.starting.Lock()
	defer m.starting.Unlock()
	if m.started || m.stopped {
		return errors.New("gossip: a mesh starts once")
	}
	a, err := resolveAddresses(ctx, m.config, m.options.Resolver, m.options.host)
	if err != nil {
		return err
	}
	if err := m.allowed.fits(a.advertise); err != nil {
		return err
	}
	t, err := listen(ctx, a, m.allowed, m.metrics)
	if err != nil {
		return err
	}
	m.transport = m.options.wrap(t)
	m.advertise.Store(&t.advertise)
	m.bound = netip.AddrPortFrom(a.bind.Addr(), t.port())
	m.ctx, m.stop = context.WithCancel(context.Background())
	var loops context.Context
	loops, m.stopLoops = context.WithCancel(m.ctx)

	m.mu.Lock()
	m.publishSelf(false)
	m.mu.Unlock()
	members, err := memberlist.Create(m.memberlistConfig())
	if err != nil {
		m.stop()
		return errors.Join(fmt.Errorf("gossip: %w", err), t.Shutdown())
	}
	m.members.Store(members)
	m.started = true
	m.wg.Go(func() { m.notify(m.ctx) })
	m.wg.Go(func() { m.maintain(loops) })
	m.wg.Go(func() { m.rejoin(loops) })
	m.wg.Go(func() { m.checkReachability(loops) })
	m.log.Info("gossip listens", zap.Stringer("bind", a.bind), zap.Stringer("advertise", t.advertise),
		zap.String("node", m.name), zap.String("label", m.label), zap.Strings("keys", m.keyIDs()))
	return nil
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
	if err := m.members.Load().Leave(timeout); err != nil {
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
		err = m.members.Load().Shutdown()
		m.stop()
		m.wg.Wait()
	}
	m.metrics.unregister(m.options.Registerer)
	return err
}
