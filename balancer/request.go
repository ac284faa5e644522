package balancer

import "slices"

// Class ranks a member: the lower the number, the better.
type Class uint8

// The classes. Nothing is sent to Down and Misconfigured members.
const (
	Ready Class = iota
	Suspect
	Degraded
	Down
	Misconfigured
)

// String names the class as logs and the status do.
func (c Class) String() string {
	names := [...]string{"READY", "SUSPECT", "DEGRADED", "DOWN", "MISCONFIGURED"}
	if int(c) < len(names) {
		return names[c]
	}
	return "UNKNOWN"
}

// Kind is what a request is to the balancer.
type Kind uint8

// The kinds.
const (
	// CachedRead may be served from a server's cache, which may lag behind
	// on another server: it never leaves the bound one.
	CachedRead Kind = iota
	// QuorumRead is a read of the latest state.
	QuorumRead
	// Write changes something.
	Write
	// Watch is a stream of events or log lines, held for minutes.
	Watch
	// Upgrade is a tunnel: exec, attach, port-forward.
	Upgrade
)

// Stream reports whether the request is counted as a stream, apart from short
// requests.
func (k Kind) Stream() bool { return k == Watch || k == Upgrade }

// spills reports whether the request may leave its bound upstream under load.
func (k Kind) spills() bool { return k == QuorumRead || k == Write }

// Outcome is what an attempt tells the circuit breaker.
type Outcome uint8

// The outcomes. Neutral says nothing about the upstream.
const (
	Success Outcome = iota
	Failure
	Neutral
)

// Request is what Pick chooses for.
type Request struct {
	// Key is the identity that the sticky policy binds.
	Key  string
	Kind Kind
	// Tried are the IDs of members that this request was sent to before;
	// empty for its first attempt. It is only read.
	Tried []string
}

func (r *Request) tried(id string) bool {
	return slices.Contains(r.Tried, id)
}
