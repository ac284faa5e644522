package gossip

import "time"

// Profile is the timing of a mesh. A zero field takes [LAN]'s value. All nodes of
// a mesh should have the same.
type Profile struct {
	// ProbeInterval is the time between two probes of memberlist, each of
	// another peer in turn. Default 1s.
	ProbeInterval time.Duration
	// ProbeTimeout is how long to wait for the answer to a probe by UDP.
	// Default 500ms.
	ProbeTimeout time.Duration
	// GossipInterval is the time between two packets of news. Default 200ms.
	GossipInterval time.Duration
	// PushPullInterval is the time between two exchanges of the whole map with
	// a random peer. Default 30s.
	PushPullInterval time.Duration
	// StreamTimeout bounds a TCP connection between two nodes. Default 5s.
	StreamTimeout time.Duration
	// RejoinInterval is the time, ± 10 %, between two attempts to reach the
	// configured and the lost peers that are not there. Default 10s.
	RejoinInterval time.Duration
	// FactTTL is how long the facts of a node that is gone are kept. They do
	// not count from the moment that it is gone. Default 90s.
	FactTTL time.Duration
	// ForgetAfter is how long a peer that is gone is listed and, if it failed,
	// looked for; configured peers are always looked for. Default 10m.
	ForgetAfter time.Duration
	// DeadTime is how long memberlist remembers a dead node, and after which
	// another address may take over its name. Default 30s.
	DeadTime time.Duration
	// BeaconInterval is the time between two small messages by which a node
	// measures how long news takes. Default 60s.
	BeaconInterval time.Duration
	// CheckInterval is the time between two looks at whether UDP gets through
	// to each peer. Default 5s.
	CheckInterval time.Duration
	// Tick is the time between two rounds of expiry. Default 1s.
	Tick time.Duration
}

// LAN is the profile for hosts with a round-trip time below half a second,
// which includes most pairs of data centres. Peers know that a host has died
// after 6 to 7 s.
func LAN() Profile {
	return Profile{
		ProbeInterval: time.Second, ProbeTimeout: 500 * time.Millisecond,
		GossipInterval: 200 * time.Millisecond, PushPullInterval: 30 * time.Second,
		StreamTimeout: 5 * time.Second, RejoinInterval: 10 * time.Second,
		FactTTL: 90 * time.Second, ForgetAfter: 10 * time.Minute, DeadTime: 30 * time.Second,
		BeaconInterval: time.Minute, CheckInterval: 5 * time.Second, Tick: time.Second,
	}
}

func (p Profile) withDefaults() Profile {
	lan := LAN()
	for field, standard := range map[*time.Duration]time.Duration{
		&p.ProbeInterval: lan.ProbeInterval, &p.ProbeTimeout: lan.ProbeTimeout,
		&p.GossipInterval: lan.GossipInterval, &p.PushPullInterval: lan.PushPullInterval,
		&p.StreamTimeout: lan.StreamTimeout, &p.RejoinInterval: lan.RejoinInterval,
		&p.FactTTL: lan.FactTTL, &p.ForgetAfter: lan.ForgetAfter, &p.DeadTime: lan.DeadTime,
		&p.BeaconInterval: lan.BeaconInterval, &p.CheckInterval: lan.CheckInterval, &p.Tick: lan.Tick,
	} {
		if *field <= 0 {
			*field = standard
		}
	}
	return p
}
