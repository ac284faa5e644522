package admin

import "time"

// States of a peer.
const (
	PeerAlive = "alive"
	PeerDead  = "dead" // it did not answer in time
	PeerLeft  = "left" // it said that it leaves
)

// Whether UDP packets pass between this process and a peer.
const (
	UDPOK      = "ok"
	UDPBlocked = "blocked" // it answers over TCP only: a firewall, most often
	UDPUnknown = "unknown"
)

// PeerStatus is one instance of kuberelay that this one exchanges facts with,
// or this one itself.
type PeerStatus struct {
	Name         string              `json:"name"`
	Address      string              `json:"address"` // host:port of the gossip
	Self         bool                `json:"self,omitempty"`
	NameConflict string              `json:"nameConflict,omitempty"` // host:port of another instance with the same name
	State        string              `json:"state"`                  // alive, dead or left
	Version      string              `json:"version,omitempty"`
	ConfigHash   string              `json:"configHash,omitempty"`   // as ConfigStatus.Hash
	KeyIDs       []string            `json:"keyIDs"`                 // of its gossip keys, the one it encrypts with first; never the keys
	AdminAddress string              `json:"adminAddress,omitempty"` // host:port of its admin server
	LastHeard    time.Time           `json:"lastHeard,omitzero"`
	UDP          string              `json:"udp"` // ok, blocked or unknown
	Observations []ObservationStatus `json:"observations"`
	Load         *PeerLoad           `json:"load,omitempty"` // of half a minute ago at most; not of this instance, whose own is at the top
}

// PeerLoad says how much a peer has to do.
type PeerLoad struct {
	InFlight int64 `json:"inFlight"` // short requests
	Streams  int64 `json:"streams"`  // watches, log follows, upgrades
}

// ObservationStatus is an API server's state as a peer sees it.
type ObservationStatus struct {
	Cluster  string    `json:"cluster"`
	Upstream string    `json:"upstream"`
	State    string    `json:"state"` // as UpstreamStatus.State
	Since    time.Time `json:"since,omitzero"`
}

// tidyPeers is the part of tidy that concerns peers.
func (s Status) tidyPeers() Status {
	s.Peers = append([]PeerStatus{}, s.Peers...)
	for i := range s.Peers {
		p := &s.Peers[i]
		p.LastHeard = p.LastHeard.UTC()
		p.KeyIDs = append([]string{}, p.KeyIDs...)
		p.Observations = append([]ObservationStatus{}, p.Observations...)
		for j := range p.Observations {
			p.Observations[j].Since = p.Observations[j].Since.UTC()
		}
		if p.UDP == "" {
			p.UDP = UDPUnknown
		}
	}
	return s
}
