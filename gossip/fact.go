package gossip

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// State is what a node says of an upstream: one of the constants, or, from a
// newer peer, a word that this version does not know.
type State string

// The states of an upstream, in the words of package health.
const (
	StateReady         State = "READY"
	StateSuspect       State = "SUSPECT"
	StateDegraded      State = "DEGRADED"
	StateDown          State = "DOWN"
	StateMisconfigured State = "MISCONFIGURED"
)

// Up reports whether the upstream answers its observer.
func (s State) Up() bool { return s == StateReady || s == StateDegraded }

// Decided reports whether the state is a verdict: SUSPECT rests on one sample at
// most, and an unknown state says nothing.
func (s State) Decided() bool {
	return s == StateReady || s == StateDegraded || s == StateDown || s == StateMisconfigured
}

// Observation is what one node has itself seen of one upstream.
type Observation struct {
	// Node is the observer.
	Node string
	// Upstream is an [UpstreamID].
	Upstream string
	// State is the upstream's state.
	State State
	// Reason says why, in at most 256 bytes; more is cut.
	Reason string
	// Breaker is closed, half-open or open.
	Breaker string
	// Since is when the state was entered, by the observer's clock: for people.
	Since time.Time
}

// Load is how much a node has to do.
type Load struct {
	InFlight uint64 // short requests under way
	Streams  uint64 // watches, log follows, upgrades
}

// Particulars are what a node says of itself.
type Particulars struct {
	// Version is the program's, at most 64 bytes.
	Version string
	// ConfigHash identifies the configuration, at most 64 bytes. Nodes whose
	// hashes differ have drifted apart.
	ConfigHash string
	// AdminAddress is where it serves its status, at most 256 bytes.
	AdminAddress string
	// Started is when the process started, by its own clock: for people.
	Started time.Time
	// Load is as of the last exchange of the whole map.
	Load Load
}

// IntentKind is what an operator decides about.
type IntentKind string

// The kinds of intent.
const (
	// Drain gives an upstream no new work.
	Drain IntentKind = "drain"
	// Revoke shuts a client out.
	Revoke IntentKind = "revoke"
)

// Intent is what an operator decided, on whichever node.
type Intent struct {
	Kind IntentKind `json:"kind"`
	// Target is the [UpstreamID] or the [ClientID] that it is about.
	Target string `json:"target"`
	// On is false if the decision was taken back (undrain, unrevoke).
	On bool `json:"on"`
	// Until is when it ends by itself, by each node's own clock; zero: when it
	// is taken back.
	Until time.Time `json:"until,omitzero"`
	// Reason is for people, at most 256 bytes; more is cut.
	Reason string `json:"reason,omitempty"`
	// By is the node on which it was decided.
	By string `json:"by,omitempty"`
	// At is when, by that node's clock: for people.
	At time.Time `json:"at,omitzero"`
	// Counter orders decisions about the same target: the higher wins, and
	// between equal ones the greater name. [Mesh.Intend] sets it.
	Counter uint64 `json:"counter"`
}

// Expired reports whether the intent has ended by itself.
func (i Intent) Expired(now time.Time) bool { return !i.Until.IsZero() && !now.Before(i.Until) }

// idBytes is the length of a hash that stands for an upstream or a client.
const idBytes = 8

// UpstreamID identifies an API server to all nodes, whatever each of them calls
// it: the first 16 hexadecimal digits of the SHA-256 of its URL and of the
// certificates of its authority, in PEM, whose order and comments do not matter.
// A default port, letter case and a trailing slash in the URL do not matter
// either.
func UpstreamID(server string, caPEM []byte) string {
	digest := sha256.New()
	fmt.Fprintf(digest, "kuberelay upstream\x00%s\x00", canonicalURL(server))
	var certificates [][]byte
	for rest := caPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		sum := sha256.Sum256(block.Bytes)
		certificates = append(certificates, sum[:])
	}
	slices.SortFunc(certificates, slices.Compare)
	if certificates == nil {
		digest.Write(caPEM)
	}
	for _, sum := range slices.CompactFunc(certificates, slices.Equal) {
		digest.Write(sum)
	}
	return hex.EncodeToString(digest.Sum(nil)[:idBytes])
}

func canonicalURL(server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return server
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[scheme]
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	return scheme + "://" + host + "|" + port + strings.TrimRight(u.EscapedPath(), "/")
}

// ClientID identifies a client to all nodes without giving its name away: the
// first 16 hexadecimal digits of a SHA-256. A node knows who is meant if its own
// configuration has the client.
func ClientID(name string) string {
	sum := sha256.Sum256([]byte("kuberelay client\x00" + name))
	return hex.EncodeToString(sum[:idBytes])
}

// validID reports whether s is the form of an [UpstreamID] or a [ClientID].
func validID(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == idBytes && strings.ToLower(s) == s
}
