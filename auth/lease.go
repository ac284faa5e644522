package auth

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

const (
	// renewAfter is the part of a credential's lifetime after which it is
	// renewed in the background; renewJitter spreads that by ± 5 %, so that
	// processes started together do not ask together.
	renewAfter  = 0.80
	renewJitter = 0.05
	// maxLeeway is how long before its expiry a credential is no longer handed
	// out: a tenth of its lifetime, at most this, client-go's own figure for
	// OIDC. It covers the time a request is under way.
	maxLeeway = 10 * time.Second
)

// Lease is one generation of a credential: what to put on a request so that it
// is made as the kubeconfig's user. It is immutable, and prints nothing of the
// credential.
type Lease struct {
	// headers is a func because fmt, printing a struct around a lease, follows
	// a pointer to the credential for a verb that does not fit.
	headers            func() *leaseHeaders
	identity           identity
	generation         uint64
	endpointGeneration uint64
	validity           validity
	certificate        *tls.Certificate // nil: none
	tlsIdentity        TLSIdentity
	bound              Bound
}

// TLSIdentity tells the client certificates of connections apart: the digest
// of a certificate chain. The zero value is of connections without one. What
// is sent on a connection is sent as its certificate's user, so connections of
// different identities are never shared.
type TLSIdentity struct{ digest identity }

// IsZero reports whether there is no certificate.
func (t TLSIdentity) IsZero() bool { return t == TLSIdentity{} }

// identifyTLS returns the identity of connections with c.
func identifyTLS(c *tls.Certificate) TLSIdentity {
	if c == nil {
		return TLSIdentity{}
	}
	return TLSIdentity{identify("certificate", certificateDER(c))}
}

// leaseHeaders is what [Rebuild] assigns: shared by all requests, never changed.
type leaseHeaders struct {
	authorization []string // one value, or nil: this user has no such header
	plainHTTP     bool     // may be sent to an http:// server
	impersonation impersonation
}

// validity is when a lease is to be renewed and when it can no longer be used.
// The zero value holds for ever.
type validity struct {
	renewAt time.Time // from here on it is renewed in the background; zero: never
	until   time.Time // from here on it is not handed out; zero: always is
	expiry  time.Time // what the credential itself says; zero: unknown
}

// validFor returns the validity of a credential got now that expires at expiry.
func validFor(now, expiry time.Time) validity {
	if expiry.IsZero() {
		return validity{}
	}
	// Wall clock only: the monotonic clock stands still while a laptop sleeps.
	now, expiry = now.Round(0), expiry.Round(0)
	lifetime := expiry.Sub(now)
	part := renewAfter + renewJitter*(2*rand.Float64()-1)
	return validity{
		renewAt: now.Add(time.Duration(float64(lifetime) * part)),
		until:   expiry.Add(-min(maxLeeway, lifetime/10)),
		expiry:  expiry,
	}
}

// usable reports whether the lease can be handed out at now.
func (v *validity) usable(now time.Time) bool { return v.until.IsZero() || now.Before(v.until) }

// due reports whether the lease is to be renewed at now.
func (v *validity) due(now time.Time) bool { return !v.renewAt.IsZero() && !now.Before(v.renewAt) }

// Authorization returns the whole value of the Authorization header, empty
// when the user has none (client certificate, anonymous).
func (l *Lease) Authorization() Secret {
	if h := l.carried(); len(h.authorization) > 0 {
		return NewSecret(h.authorization[0])
	}
	return Secret{}
}

// As returns as whom requests are made (--as and what belongs to it); nil: as
// the credential's own user. Keys of extras are as the API server reads them, in
// lower case.
func (l *Lease) As() *As { return l.carried().impersonation.as() }

// noHeaders is what a lease that is nil carries.
var noHeaders leaseHeaders

// carried returns the lease's headers.
func (l *Lease) carried() *leaseHeaders {
	if l == nil || l.headers == nil {
		return &noHeaders
	}
	return l.headers()
}

// Generation counts the credentials of a [Kubeconfig]: a lease with another
// generation is another lease.
func (l *Lease) Generation() uint64 { return l.generation }

// EndpointGeneration is the [Endpoint.Generation] this lease belongs to. A
// lease must not be sent over the transport of another generation: when the
// kubeconfig was switched to another cluster, that would hand one cluster's
// credential to the other. Ask for a new lease instead.
func (l *Lease) EndpointGeneration() uint64 { return l.endpointGeneration }

// Certificate is the client certificate that connections for this lease are
// made with; nil for none. It is shared and not to be changed.
func (l *Lease) Certificate() *tls.Certificate { return l.certificate }

// TLSIdentity tells which connections this lease may be sent over.
func (l *Lease) TLSIdentity() TLSIdentity { return l.tlsIdentity }

// Confidential reports whether the lease has something that must not be sent in
// clear text: to an http:// server it would be left out, and the request
// anonymous.
func (l *Lease) Confidential() bool {
	h := l.carried()
	return l.certificate != nil || len(h.authorization) > 0 && !h.plainHTTP
}

// Bound says for which cluster the lease was got, if for one alone.
func (l *Lease) Bound() Bound { return l.bound }

// Expiry is when the credential says it expires; zero: it does not say.
func (l *Lease) Expiry() time.Time { return l.validity.expiry }

// same reports whether both carry the same credential.
func (l *Lease) same(other *Lease) bool {
	return l != nil && other != nil && l.identity == other.identity
}

// String names the generation and hides the rest.
func (l *Lease) String() string {
	if l == nil {
		return "lease(none)"
	}
	return fmt.Sprintf("lease(generation %d)", l.generation)
}

// Format prints [Lease.String] for every verb.
func (l *Lease) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.String()) }

// MarshalText returns [Lease.String].
func (l *Lease) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
