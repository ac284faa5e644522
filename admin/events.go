package admin

import (
	"strings"
	"sync"
	"time"
)

// Bounds of what an [Events] keeps: how many events, and how many bytes of a
// text, which may be an API server's own words.
const (
	maxEvents    = 200
	maxEventText = 512
)

// Kinds of events.
const (
	EventState      = "state"      // an API server changed state
	EventBreaker    = "breaker"    // a circuit breaker changed state
	EventReload     = "reload"     // the configuration file was read anew, or refused
	EventDrain      = "drain"      // an API server was taken out of use, or put back
	EventRevoke     = "revoke"     // a client was revoked, or let in again
	EventPeer       = "peer"       // a peer came, failed or left
	EventIsolated   = "isolated"   // most peers reach API servers that this process does not, or no longer
	EventCredential = "credential" // a credential cannot be had, or can be again
	EventProcess    = "process"    // the process started or is stopping, or its admin server failed
)

// Event is something that happened and that an operator may want to know.
type Event struct {
	At       time.Time `json:"at,omitzero"`
	Kind     string    `json:"kind"` // one of the constants
	Cluster  string    `json:"cluster,omitempty"`
	Upstream string    `json:"upstream,omitempty"`
	Client   string    `json:"client,omitempty"`
	Text     string    `json:"text"` // a sentence for people, without what the other fields say
}

// Events keeps the latest 200 events. The zero value is ready to use; a nil
// *Events keeps nothing. Its methods may be called from any goroutine.
type Events struct {
	mu   sync.Mutex
	ring []Event // guarded by mu; grows to maxEvents
	next int     // guarded by mu; the oldest once ring is full
}

// Add keeps an event, in place of the oldest when there are 200. A zero At
// becomes now. Of a long text the first 512 bytes are kept.
func (e *Events) Add(event Event) {
	if e == nil {
		return
	}
	if event.At.IsZero() {
		event.At = time.Now()
	}
	if len(event.Text) > maxEventText {
		event.Text = strings.ToValidUTF8(event.Text[:maxEventText], "") + " …"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.ring) < maxEvents {
		e.ring = append(e.ring, event)
		return
	}
	e.ring[e.next] = event
	e.next = (e.next + 1) % maxEvents
}

// Latest returns the events, the latest first, for [Status].
func (e *Events) Latest() []Event {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.ring)
	latest := make([]Event, 0, n)
	for i := range n {
		latest = append(latest, e.ring[(e.next+n-1-i)%n])
	}
	return latest
}
