package daemon

import (
	"slices"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/gossip"
)

// subject is what a decision is about, by the name that all hosts know it by.
type subject struct {
	kind   gossip.IntentKind
	target string
}

func subjectOf(i gossip.Intent) subject { return subject{i.Kind, i.Target} }

func holds(i gossip.Intent, now time.Time) bool { return i.On && !i.Expired(now) }

// clone is a copy that can be edited.
func (s intentState) clone() intentState {
	s.Drained, s.Revoked, s.Pending = slices.Clone(s.Drained), slices.Clone(s.Revoked), slices.Clone(s.Pending)
	return s
}

func (s intentState) equal(other intentState) bool {
	return slices.Equal(s.Drained, other.Drained) && slices.Equal(s.Revoked, other.Revoked) &&
		slices.Equal(s.Pending, other.Pending) && slices.Equal(s.Mesh, other.Mesh)
}

// forgetEnded drops revocations whose time is over. One of them that the peers
// are yet to be told may end another that they know.
func (s *intentState) forgetEnded(now time.Time) {
	s.Revoked = slices.DeleteFunc(s.Revoked, func(r revocation) bool { return r.ended(now) })
	s.Pending = slices.DeleteFunc(s.Pending, func(p gossip.Intent) bool { return p.Expired(now) && p.Counter == 0 })
}

func (r revocation) ended(now time.Time) bool { return !r.Until.IsZero() && !now.Before(r.Until) }

// pend remembers a decision until the peers are told, and which of theirs it
// replaces. What is taken back before anybody was told need not be told.
func (s *intentState) pend(i gossip.Intent) {
	s.Pending = slices.DeleteFunc(s.Pending, func(p gossip.Intent) bool { return subjectOf(p) == subjectOf(i) })
	known := slices.IndexFunc(s.Mesh, func(m gossip.Intent) bool { return subjectOf(m) == subjectOf(i) })
	if known >= 0 {
		i.Counter = s.Mesh[known].Counter
	}
	if i.On || known >= 0 {
		s.Pending = append(s.Pending, i)
	}
}

// pendUntold does so for what holds and is of a time when peers were not
// thought of.
func (s *intentState) pendUntold() {
	decided := s.decisions()
	for _, r := range s.Revoked {
		i := gossip.Intent{Kind: gossip.Revoke, Target: gossip.ClientID(r.Client), On: true, Until: r.Until, Reason: r.Reason}
		if _, known := decided[subjectOf(i)]; !known {
			s.pend(i)
		}
	}
	for _, d := range s.Drained {
		i := gossip.Intent{Kind: gossip.Drain, Target: d.Key, On: true}
		if _, known := decided[subjectOf(i)]; !known && d.Key != "" {
			s.pend(i)
		}
	}
}

// decisions are the last ones: those that the peers know and, above them, those
// that they are yet to be told.
func (s intentState) decisions() map[subject]gossip.Intent {
	all := make(map[subject]gossip.Intent, len(s.Mesh)+len(s.Pending))
	for _, i := range slices.Concat(s.Mesh, s.Pending) {
		all[subjectOf(i)] = i
	}
	return all
}

// follow makes what holds here what was decided. What is decided about what is
// not configured here holds from when it is; what was taken back holds no more
// in any case.
func (s *intentState) follow(k *known, now time.Time) {
	decided := s.decisions()
	var drains []drainedUpstream
	have := make(map[[2]string]bool)
	for _, d := range s.Drained {
		key := k.key(d.Cluster, d.Upstream)
		i, found := decided[subject{gossip.Drain, key}]
		if !found {
			i, found = decided[subject{gossip.Drain, d.Key}]
		}
		if found && !holds(i, now) {
			continue
		}
		if d.Key == "" {
			d.Key = key
		}
		drains = append(drains, d)
		have[[2]string{d.Cluster, d.Upstream}] = true
	}
	var revocations []revocation
	revoked := make(map[string]bool)
	for _, r := range s.Revoked {
		i, found := decided[subject{gossip.Revoke, gossip.ClientID(r.Client)}]
		switch {
		case found && !holds(i, now):
			continue
		case found && !r.Until.Equal(i.Until):
			r.Until, r.Reason = i.Until, i.Reason
		}
		revocations = append(revocations, r)
		revoked[r.Client] = true
	}
	for _, i := range slices.Concat(s.Mesh, s.Pending) {
		if decided[subjectOf(i)] != i || !holds(i, now) {
			continue
		}
		switch i.Kind {
		case gossip.Drain:
			for _, p := range k.upstreams[i.Target] {
				name := p.cluster.config.Name
				if server := [2]string{name, p.id}; !have[server] {
					have[server] = true
					drains = append(drains, drainedUpstream{name, p.id, now.UTC(), i.Target})
				}
			}
		case gossip.Revoke:
			if client, found := k.clients[i.Target]; found && !revoked[client] {
				revoked[client] = true
				revocations = append(revocations, revocation{client, now.UTC(), i.Until, i.Reason})
			}
		}
	}
	s.Drained, s.Revoked = drains, revocations
}

// decided is a change of what holds here.
type decided struct {
	subject
	cluster, upstream, client string
	on                        bool
	reason                    string
}

// since are the changes from before to s. That a revocation's time is over is
// none.
func (s intentState) since(before intentState, now time.Time) []decided {
	var changes []decided
	for _, d := range s.Drained {
		if !slices.ContainsFunc(before.Drained, d.same) {
			changes = append(changes, d.decided(true))
		}
	}
	for _, d := range before.Drained {
		if !slices.ContainsFunc(s.Drained, d.same) {
			changes = append(changes, d.decided(false))
		}
	}
	was, is := byClient(before.Revoked), byClient(s.Revoked)
	for _, r := range s.Revoked {
		if was[r.Client] != r {
			changes = append(changes, r.decided(true))
		}
	}
	for _, r := range before.Revoked {
		if _, still := is[r.Client]; !still && !r.ended(now) {
			changes = append(changes, r.decided(false))
		}
	}
	return changes
}

func (d drainedUpstream) same(other drainedUpstream) bool {
	return d.Cluster == other.Cluster && d.Upstream == other.Upstream
}

func (d drainedUpstream) decided(on bool) decided {
	return decided{subject: subject{gossip.Drain, d.Key}, cluster: d.Cluster, upstream: d.Upstream, on: on}
}

func (r revocation) decided(on bool) decided {
	return decided{subject: subject{gossip.Revoke, gossip.ClientID(r.Client)}, client: r.Client, on: on, reason: r.Reason}
}

func (c decided) event() admin.Event {
	switch {
	case c.kind == gossip.Revoke && c.on:
		return admin.Event{Kind: admin.EventRevoke, Client: c.client, Text: "revoked: " + c.reason}
	case c.kind == gossip.Revoke:
		return admin.Event{Kind: admin.EventRevoke, Client: c.client, Text: "may call again"}
	case c.on:
		return admin.Event{Kind: admin.EventDrain, Cluster: c.cluster, Upstream: c.upstream, Text: "drained"}
	}
	return admin.Event{Kind: admin.EventDrain, Cluster: c.cluster, Upstream: c.upstream, Text: "back in use"}
}

func byClient(revoked []revocation) map[string]revocation {
	all := make(map[string]revocation, len(revoked))
	for _, r := range revoked {
		all[r.Client] = r
	}
	return all
}

// enforce makes what was decided since before hold in the pools and for the
// clients. It returns the changes, and how much was cut. d.publishing is held.
func (d *Daemon) enforce(before intentState) (changes []decided, cut int) {
	changes = d.intents.snapshot().since(before, time.Now())
	revoked := false
	for _, c := range changes {
		d.events.Add(c.event())
		if c.kind == gossip.Revoke {
			revoked = true
			continue
		}
		if on := d.parts.Load().cluster(c.cluster); on != nil {
			on.drainAsDecided()
			if c.on {
				on.leave(c.upstream)
			}
		}
	}
	if revoked {
		cut = d.republish()
	}
	return changes, cut
}

// drainAsDecided makes the pool what the decisions of now are, and is called
// after either has changed.
func (c *cluster) drainAsDecided() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.syncDrained()
}

// syncDrained is drainAsDecided with c.mu held: whoever comes last has read
// what holds.
func (c *cluster) syncDrained() {
	for _, m := range c.pool.Status() {
		if want := c.daemon.intents.isDrained(c.config.Name, m.ID); want != m.Draining {
			c.pool.Drain(m.ID, want)
		}
	}
}
