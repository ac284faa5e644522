package gossip

import (
	"context"
	"time"
)

// unheardAfter is how long after it was sent news counts as lost if no peer was
// heard to pass it on.
const unheardAfter = 10 * time.Second

// maintain forgets what has expired, and sends a beacon now and then.
func (m *Mesh) maintain(ctx context.Context) {
	tick := time.NewTicker(m.profile.Tick)
	defer tick.Stop()
	beacon := time.NewTicker(m.profile.BeaconInterval)
	defer beacon.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.expire(time.Now())
		case <-beacon.C:
			m.mu.Lock()
			m.put(entryKey{kind: kindBeacon}, "", true)
			m.mu.Unlock()
		}
	}
}

func (m *Mesh) expire(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replica.expire(now, m.profile.FactTTL, m.presence)
	for name, p := range m.peers {
		if p.state != PeerAlive && now.Sub(p.since) >= m.profile.ForgetAfter {
			delete(m.peers, name)
		}
	}
	for name, last := range m.lastName {
		if now.Sub(last) >= conflictLogEvery {
			delete(m.lastName, name)
		}
	}
	for key, sent := range m.unheard {
		if now.Sub(sent.at) >= unheardAfter {
			delete(m.unheard, key)
			if m.alive.Load() > 0 {
				m.metrics.unheard.Inc()
			}
		}
	}
}
