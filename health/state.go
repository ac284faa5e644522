package health

import (
	"net/url"
	"strconv"
	"time"
)

// State is the verdict on one upstream, best first.
type State uint8

const (
	// Ready answers /readyz with 200.
	Ready State = iota
	// Suspect has failed a sample, or was not probed yet.
	Suspect
	// Degraded answers, but is not ready or is shutting down.
	Degraded
	// Down does not answer.
	Down
	// Misconfigured needs a person: its certificate does not verify, it refuses
	// the probe's credential, or it belongs to another cluster.
	Misconfigured
)

var stateNames = [...]string{"READY", "SUSPECT", "DEGRADED", "DOWN", "MISCONFIGURED"}

// String returns the name in capitals, as in logs, metrics and the status page.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "STATE(" + strconv.Itoa(int(s)) + ")"
}

// usable reports whether a request may be sent there at all.
func (s State) usable() bool { return s <= Degraded }

// Target is one upstream to watch.
type Target struct {
	// ID is unique in its group and stable over calls of [Group.Set].
	ID string
	// URL is the API server's base URL; a path in it is kept as a prefix.
	URL *url.URL
	// Initial holds until the first verdict. Suspect lets requests through
	// before the first probe (the kubeconfig's own server), Down does not (a
	// discovered address).
	Initial State
}

// Transition is one change of a target's state.
type Transition struct {
	ID       string
	From, To State
	// Reason is one line for people, without secrets.
	Reason string
	// Cause is the kind of the sample that tipped the state. It distinguishes
	// two sorts of Misconfigured: after Certificate or WrongCluster the target
	// must not get a request; after Credential only the probe's own credential
	// is refused, and clients may well have another one.
	Cause ResultKind
}

// Status is what is known of a target.
type Status struct {
	ID string
	// URL is the target's, without user information and query.
	URL   string
	State State
	// Since is when the state was entered.
	Since time.Time
	// Reason is one line for people, of the latest sample that bears on the state.
	Reason string
	// Cause is the kind of the sample that tipped the state.
	Cause ResultKind
	// LastProbe is when the latest finished probe began; zero before the first.
	LastProbe time.Time
	// LastError is the reason of the latest failed sample, kept after recovery.
	LastError string
}
