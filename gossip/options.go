package gossip

import (
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options are what a mesh gets from the program around it. All are optional.
//
// The hooks are called one at a time, from one goroutine, with no lock of
// memberlist's or the mesh's held: they may call any method of the mesh but
// Stop, and should not block. What changes again before its hook is called is
// reported once.
type Options struct {
	// Log gets what happens. Default none.
	Log *zap.Logger
	// Registerer gets the metrics until [Mesh.Stop].
	Registerer prometheus.Registerer
	// Profile are the times. Default [LAN].
	Profile Profile
	// Resolver looks up addresses and peers. Default [net.DefaultResolver].
	Resolver Resolver
	// Knows reports whether an [UpstreamID] is configured here; default: all
	// are. Observations of others are kept and passed on, but OnObservation
	// does not get them, not even when they become known later. It is called
	// from any goroutine, under the mesh's lock: it must not call the mesh or
	// wait.
	Knows func(upstream string) bool
	// OnObservation gets what a peer newly says of an upstream.
	OnObservation func(Observation)
	// OnIntent gets what an operator newly decided on another node, and what was
	// decided on this one before the first peer came, if that holds over what
	// peers knew. Of two decisions about one target, the one that holds comes
	// last.
	OnIntent func(Intent)
	// OnJoin is called once, after the first exchange of maps with a peer, and
	// after OnIntent was for all decisions that came with it.
	OnJoin func()
	// OnPeer gets a peer that came, went, or whose particulars, other than its
	// load, or reachability changed.
	OnPeer func(Peer)

	// For tests: the epoch, the addresses of this host, and a layer between
	// memberlist and the sockets.
	epoch uint64
	host  func() ([]candidate, error)
	wrap  func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Knows == nil {
		o.Knows = func(string) bool { return true }
	}
	if o.OnObservation == nil {
		o.OnObservation = func(Observation) {}
	}
	if o.OnIntent == nil {
		o.OnIntent = func(Intent) {}
	}
	if o.OnJoin == nil {
		o.OnJoin = func() {}
	}
	if o.OnPeer == nil {
		o.OnPeer = func(Peer) {}
	}
	if o.host == nil {
		o.host = hostCandidates
	}
	if o.wrap == nil {
		o.wrap = func(t memberlist.NodeAwareTransport) memberlist.NodeAwareTransport { return t }
	}
	if o.epoch == 0 {
		// It orders the runs of this node alone, so no clocks are compared.
		o.epoch = uint64(time.Now().UnixMilli())
	}
	o.Profile = o.Profile.withDefaults()
	return o
}
