package gossip

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// firstOpening bounds the first attempt of Start, which others wait for.
const firstOpening = 2 * time.Second

// errNoAddress is of a host whose network is not there yet.
var errNoAddress = errors.New("it has none that another host could reach: write the one to use")

// passes reports whether what keeps a node from its mesh may end by itself: a name
// cannot be looked up, an address is not assigned yet, a port is taken. What
// is wrong or ambiguous in the configuration does not.
func passes(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok || errors.Is(err, errNoAddress) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	_, ok := errors.AsType[*net.OpError](err)
	return ok && !errors.Is(err, fs.ErrPermission)
}

// open listens, and begins to be a member.
func (m *Mesh) open(ctx context.Context, c Config) error {
	a, err := resolveAddresses(ctx, c, m.options.Resolver, m.options.host)
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
	members, err := memberlist.Create(m.memberlistConfig())
	if err != nil {
		m.advertise.Store(nil)
		return errors.Join(fmt.Errorf("gossip: %w", err), t.Shutdown())
	}
	m.members.Store(members)
	m.trouble.Store(nil)
	m.log.Info("gossip listens", zap.Stringer("bind", a.bind), zap.Stringer("advertise", t.advertise),
		zap.String("node", m.name), zap.String("label", m.label), zap.Strings("keys", m.keyIDs()))
	return nil
}

// meet begins to look for peers, once the node is open.
func (m *Mesh) meet(ctx context.Context) {
	m.wg.Go(func() { m.rejoin(ctx) })
	m.wg.Go(func() { m.checkReachability(ctx) })
}

// keepOpening tries again, after pauses that double, until the node is open or
// ctx ends. Whatever is wrong with gossip, the rest goes on without.
func (m *Mesh) keepOpening(ctx context.Context, c Config, err error) {
	pause, limit := m.profile.RejoinInterval/10, 6*m.profile.RejoinInterval
	var told string
	var at time.Time
	for err != nil {
		text := err.Error()
		m.trouble.Store(&text)
		if now := time.Now(); text != told || now.Sub(at) >= tellAgain {
			told, at = text, now
			m.log.Error("gossip does not run, all else does; it is tried again", zap.Error(err))
		}
		m.wait(ctx, pause)
		pause = min(2*pause, limit)
		if ctx.Err() != nil {
			return
		}
		err = m.open(ctx, c)
	}
	m.meet(ctx)
}

// Trouble says why this node, although it was started, is no member of its mesh
// yet; "" if it is. Its peers' facts and decisions do not reach it meanwhile, nor
// its own them.
func (m *Mesh) Trouble() string {
	if text := m.trouble.Load(); text != nil {
		return *text
	}
	return ""
}
