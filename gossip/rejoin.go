package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// lookupRounds is after how many rejoin intervals names are looked up anew
	// although nobody is missing: peers may have got further addresses.
	lookupRounds = 30
	// tellAgain is how often a seed that cannot be looked up is logged.
	tellAgain = 10 * time.Minute
	// maxJoins bounds the addresses that are joined side by side.
	maxJoins = 8
)

// rejoin joins whoever should be there and is not, at once and then every
// RejoinInterval. It is what heals a partition: memberlist does not talk to the
// dead for long, and then forgets them (memberlist#222).
func (m *Mesh) rejoin(ctx context.Context) {
	s := &search{
		mesh: m, names: map[string]*lookedUp{}, joining: map[netip.AddrPort]bool{},
		answered: map[netip.AddrPort]bool{}, leads: map[netip.AddrPort]string{},
		lookups: make(chan lookup), joins: make(chan joinResult), slots: make(chan struct{}, maxJoins),
	}
	defer s.work.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	interval := m.profile.RejoinInterval
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.kick:
			s.round(ctx)
		case <-timer.C:
			s.round(ctx)
			timer.Reset(interval*9/10 + rand.N(interval/5))
		case l := <-s.lookups:
			s.lookedUp(ctx, l)
		case j := <-s.joins:
			s.joined(j)
		}
		s.settle(ctx)
	}
}

// search is what the loop that joins knows. It is that loop's alone; look-ups
// and joins run beside it, so that one that is slow holds no other up.
type search struct {
	mesh     *Mesh
	names    map[string]*lookedUp      // by the text of the seed
	joining  map[netip.AddrPort]bool   // a join is under way
	answered map[netip.AddrPort]bool   // the last join found somebody
	leads    map[netip.AddrPort]string // to which node an address led that this does not advertise
	tracing  bool                      // a join is under way that finds that out
	settled  bool

	lookups chan lookup
	joins   chan joinResult
	slots   chan struct{}
	work    sync.WaitGroup
}

// lookedUp is what came of a seed that is no address.
type lookedUp struct {
	busy   bool
	at     time.Time // when it was last begun
	found  []netip.AddrPort
	failed bool
	told   time.Time // when that was last logged
}

type lookup struct {
	seed  seed
	found []netip.AddrPort
	err   error
}

type joinResult struct {
	address netip.AddrPort
	err     error
	traced  bool
	met     []string // nodes with which maps were exchanged meanwhile, if traced
}

// round joins all that are missing at the addresses that are known, and begins
// to look up the others.
func (s *search) round(ctx context.Context) {
	m := s.mesh
	m.mu.Lock()
	seeds := slices.Clone(m.seeds)
	m.mu.Unlock()
	var known []netip.AddrPort
	names := map[string]*lookedUp{}
	for _, seed := range seeds {
		if seed.address.IsValid() {
			known = append(known, seed.address)
			continue
		}
		if names[seed.text] = s.names[seed.text]; names[seed.text] == nil {
			names[seed.text] = &lookedUp{}
		}
		known = append(known, names[seed.text].found...)
	}
	s.names = names
	missing := m.missing(known, true, s.leads)
	s.join(ctx, missing)
	somebody, now := len(missing) > 0 || m.alive.Load() == 0, time.Now()
	for _, seed := range seeds {
		if n := names[seed.text]; n != nil && !n.busy &&
			(somebody || n.failed || now.Sub(n.at) >= lookupRounds*m.profile.RejoinInterval) {
			n.busy, n.at = true, now
			s.work.Go(func() {
				found, err := seed.resolve(ctx, m.options.Resolver)
				select {
				case s.lookups <- lookup{seed, found, err}:
				case <-ctx.Done():
				}
			})
		}
	}
}

// lookedUp joins whom a look-up found, and says what it did not.
func (s *search) lookedUp(ctx context.Context, l lookup) {
	m, n := s.mesh, s.names[l.seed.text]
	if n == nil {
		return // It was taken out of the configuration meanwhile.
	}
	slices.SortFunc(l.found, netip.AddrPort.Compare)
	l.found = slices.Compact(l.found)
	n.busy, n.failed = false, l.err != nil
	n.found = l.found[:min(len(l.found), maxSeedAddresses)]
	if n.failed {
		m.metrics.seedErrors.Inc()
		if now := time.Now(); now.Sub(n.told) >= tellAgain {
			n.told = now
			m.log.Warn("a peer of gossip.peers cannot be looked up; this is tried again", zap.Stringer("peer", l.seed), zap.Error(l.err))
		}
	}
	s.join(ctx, m.missing(n.found, false, s.leads))
}

// join begins to join addresses. Where somebody was found before, who still is
// not known by that address, it is found out whom it leads to, one at a time.
func (s *search) join(ctx context.Context, addresses []netip.AddrPort) {
	m := s.mesh
	for _, address := range addresses {
		trace := s.answered[address]
		if s.joining[address] || len(s.joining) >= maxSeedAddresses || trace && s.tracing {
			continue
		}
		s.joining[address], s.tracing = true, s.tracing || trace
		s.work.Go(func() {
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			j := joinResult{address: address, traced: trace}
			if trace {
				m.trace(true)
			}
			_, j.err = m.members.Load().Join([]string{address.String()})
			if trace {
				j.met = m.trace(false)
			}
			<-s.slots
			select {
			case s.joins <- j:
			case <-ctx.Done():
			}
		})
	}
}

// joined takes down what came of a join. That an address led to several nodes
// only means that others joined this one meanwhile: it is tried again.
func (s *search) joined(j joinResult) {
	m := s.mesh
	delete(s.joining, j.address)
	delete(s.leads, j.address)
	s.tracing = s.tracing && !j.traced
	if j.err != nil {
		delete(s.answered, j.address)
		m.metrics.joins.WithLabelValues("error").Inc()
		return // memberlist says it, at level debug: it may be away for days.
	}
	m.metrics.joins.WithLabelValues("ok").Inc()
	s.answered[j.address] = true
	slices.Sort(j.met)
	if met := slices.Compact(j.met); len(met) == 1 {
		s.leads[j.address] = met[0]
	}
}

// settle exchanges maps once more, soon after the first peer is there. Many
// nodes that start at once have much to tell each other, and that is quicker
// than news.
func (s *search) settle(ctx context.Context) {
	m := s.mesh
	if s.settled || m.alive.Load() == 0 {
		return
	}
	s.settled = true
	s.work.Go(func() {
		m.wait(ctx, m.profile.RejoinInterval/10)
		if alive := m.alivePeers(); ctx.Err() == nil && len(alive) > 0 {
			_, _ = m.members.Load().Join([]string{alive[rand.N(len(alive))].address.String()})
		}
	})
}

// trace begins, or ends, to take down with whom maps are exchanged, and returns
// whom that was since it began.
func (m *Mesh) trace(on bool) (met []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	met = m.met
	m.tracing, m.met = on, nil
	return met
}

// missing returns the addresses, of those that were found and, with failed, of
// the peers that failed, at which nobody is that this node knows to be there.
func (m *Mesh) missing(found []netip.AddrPort, failed bool, leads map[netip.AddrPort]string) []netip.AddrPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	found = slices.Clone(found)
	there := map[netip.AddrPort]bool{m.Addr(): true}
	for _, p := range m.peers {
		switch p.state {
		case PeerAlive:
			there[p.address] = true
		case PeerFailed:
			if failed {
				found = append(found, p.address)
			}
		case PeerLeft:
		}
	}
	var missing []netip.AddrPort
	for _, address := range found {
		if name, known := leads[address]; known && m.counts(name) {
			continue
		}
		if !there[address] && m.allowed.allows(address.Addr()) && !m.isSelf(address) {
			there[address] = true
			missing = append(missing, address)
		}
	}
	return missing
}

// isSelf reports whether address leads back here in another way than by the
// advertised address, because this node listens on every address.
func (m *Mesh) isSelf(address netip.AddrPort) bool {
	if address.Port() != m.bound.Port() || !m.bound.Addr().IsUnspecified() {
		return false
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		network, ok := a.(*net.IPNet)
		return ok && network.IP.Equal(address.Addr().AsSlice())
	})
}
