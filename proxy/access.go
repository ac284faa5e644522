package proxy

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/auth/policy"
)

// Access says who may call shared listeners, and what they may do. It is one
// generation and never changes: a reload or a revocation makes another, and
// everything in flight is checked against that.
type Access struct {
	// Directory knows the clients by what they present.
	Directory *identify.Directory
	// Clients are those that the directory knows, by name.
	Clients map[string]*Client
	// Revoked are the clients that are refused, by name, and until when; the
	// zero time: until an operator lifts it.
	Revoked map[string]time.Time
	// Listeners are the kinds of evidence that each shared listener accepts, by
	// the listener's name.
	Listeners map[string]identify.Accepted
	// Audit gets an event for each request; nil: none is written.
	Audit *audit.Log
}

// Client is one client's grants and limits.
type Client struct {
	Name string
	// Grants are those of the client, by the cluster's name.
	Grants map[string]*Grant
	// Limiter and Seen are kept from one generation to the next.
	Limiter *limit.Limiter
	Seen    *Seen
	// Allowed is what the client may ask for with --as.
	Allowed auth.AllowedImpersonation
}

// Seen counts a client's requests, and knows when the last one came. The zero
// value is for a client that has made none.
type Seen struct {
	requests atomic.Uint64
	last     atomic.Int64 // Unix nanoseconds
}

func (s *Seen) note(at time.Time) {
	s.requests.Add(1)
	s.last.Store(at.UnixNano())
}

// Requests returns how many requests the client has made.
func (s *Seen) Requests() uint64 { return s.requests.Load() }

// Last returns when the last of them came; the zero time: none has.
func (s *Seen) Last() time.Time {
	if last := s.last.Load(); last != 0 {
		return time.Unix(0, last)
	}
	return time.Time{}
}

// Grant is how a client uses a cluster.
type Grant struct {
	Cluster    *Cluster
	Credential string // the credential's name
	// Credentials hand out the credential's leases, and no other's: requests
	// are sent with nothing else. Never nil. It is compared with ==: requests
	// in flight are ended by a reload that puts another in its place.
	Credentials Credentials
	As          *auth.As // nil: as the credential's own user
	Policy      *policy.Policy
	PolicyName  string
}

// Caller is who makes a request, and what was decided about it.
type Caller struct {
	Access   *Access // the generation that decided
	Listener string
	Identity identify.Identity
	Client   *Client
	Grant    *Grant
	Cluster  string
	Prefix   string // of the path, which the cluster does not see; "" at the root
	Request  policy.Request
	Rule     int      // index of the policy's rule that allowed it
	As       *auth.As // as whom it is made; may differ from the grant's
	AskedAs  bool     // the client asked for that
}

// revoked reports whether a client is refused now.
func (a *Access) revoked(client string, now time.Time) bool {
	until, found := a.Revoked[client]
	return found && (until.IsZero() || now.Before(until))
}

// Review checks a request that an earlier generation has allowed against this
// one. It returns why the request may not go on, as an [*EndedError], or nil.
func (a *Access) Review(c *Caller, now time.Time) error {
	name := c.Identity.Client
	client := a.Clients[name]
	switch {
	case client == nil:
		return &EndedError{CloseRemoved, "the client was removed from the configuration"}
	case a.revoked(name, now):
		return &EndedError{CloseRevoked, "the client was revoked"}
	}
	accepted, found := a.Listeners[c.Listener]
	if !found || !c.Identity.AcceptedBy(accepted) {
		return &EndedError{CloseRemoved, "the listener no longer accepts how the client was identified"}
	}
	if ended := a.identified(c, now); ended != nil {
		return ended
	}
	if c.Grant == nil { // kuberelay's own endpoints
		return nil
	}
	grant := client.Grants[c.Cluster]
	switch {
	case grant == nil:
		return &EndedError{CloseRemoved, "the client's grant was removed from the configuration"}
	case grant.Credential != c.Grant.Credential || grant.Credentials != c.Grant.Credentials:
		return &EndedError{CloseCredential, "the grant's credential was replaced"}
	case !a.sameAs(c, client, grant):
		return &EndedError{ClosePolicy, "the client may no longer act as that user"}
	case !grant.Policy.Decide(&c.Request).Allowed:
		return &EndedError{ClosePolicy, "the policy no longer allows it"}
	}
	return nil
}

// ReviewIdentity checks only whether what identified the client still does, and
// answers like [Access.Review]. It is cheap: expiry is found by asking for every
// request in flight, again and again.
func (a *Access) ReviewIdentity(c *Caller, now time.Time) error {
	if ended := a.identified(c, now); ended != nil {
		return ended
	}
	return nil
}

func (a *Access) identified(c *Caller, now time.Time) *EndedError {
	err := a.Directory.Review(&c.Identity, now)
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*identify.Refusal](err); ok && refusal.Reason == identify.ReasonExpired {
		return &EndedError{CloseExpired, "what identified the client has expired"}
	}
	return &EndedError{CloseRemoved, "what identified the client no longer does"}
}

// sameAs reports whether the request may still be made as the same user.
func (a *Access) sameAs(c *Caller, client *Client, grant *Grant) bool {
	if !c.AskedAs {
		return c.As.Equal(grant.As)
	}
	return client.Allowed.Allows(grant.As, c.As)
}
