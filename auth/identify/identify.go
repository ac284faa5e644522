package identify

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// Identify returns the one client that the request and its connection are
// evidence of, or a [*Refusal]. The peer may be nil: nothing is known of it, not
// even that it is on another machine, so tokens that hold for one user are
// refused.
//
// Everything that is presented counts: a token that is not valid is a refusal
// even where the certificate beside it would do, and so is a second client.
// Only the peer's uid is not presented but there of itself: where it belongs to
// no client, other evidence decides alone.
//
// It waits for nothing but an issuer whose keys are being fetched, and no longer
// than ctx.
func (d *Directory) Identify(ctx context.Context, r *http.Request, p *Peer, accepted Accepted) (Identity, error) {
	if p == nil {
		p = &Peer{Loopback: true}
	}
	g := gathering{d: d, now: d.now()}
	if refusal := g.gather(ctx, r, p, accepted); refusal != nil {
		return Identity{}, refusal
	}
	if g.count == 0 {
		return Identity{}, nobody(p, accepted)
	}
	return g.identity, nil
}

// gathering adds up the evidence of one request.
type gathering struct {
	d        *Directory
	now      time.Time
	identity Identity
	count    int
}

func (g *gathering) gather(ctx context.Context, r *http.Request, p *Peer, accepted Accepted) *Refusal {
	var h carriers
	h.read(r.Header)
	authorization, refusal := h.bearer()
	if refusal != nil {
		if !accepted.tokens() {
			refusal = notAccepted("an Authorization header", accepted)
		}
		return refusal
	}
	subprotocol, refusal := h.subprotocolBearer()
	if refusal != nil {
		return refusal
	}
	if authorization != "" || subprotocol != "" {
		if !accepted.tokens() {
			return notAccepted("a bearer token", accepted)
		}
	}

	if p.UIDKnown && accepted.Has(UID) {
		if entry := g.d.uids[p.UID]; entry != nil {
			if refusal := g.add(entry); refusal != nil {
				return refusal
			}
		}
	}
	if authorization != "" {
		if refusal := g.token(ctx, authorization, p, accepted); refusal != nil {
			return refusal
		}
	}
	if subprotocol != "" && subprotocol != authorization {
		if refusal := g.token(ctx, subprotocol, p, accepted); refusal != nil {
			return refusal
		}
	}
	return g.certificate(r, accepted)
}

func (g *gathering) certificate(r *http.Request, accepted Accepted) *Refusal {
	c, refusal := presentedCertificate(r.TLS)
	switch {
	case refusal != nil:
		return refusal
	case c == nil:
		return nil
	case !accepted.Has(Certificate):
		return notAccepted("a client certificate", accepted)
	}
	return g.add(c)
}

// token adds the token's evidence, which is of one kind: the prefix tells
// minted tokens, the digest configured ones; others are ID tokens if they are
// JWTs of a configured issuer.
func (g *gathering) token(ctx context.Context, token string, p *Peer, accepted Accepted) *Refusal {
	if len(token) > maxToken {
		return invalidToken()
	}
	if strings.HasPrefix(token, mintedPrefix) {
		return g.mintedToken(token, p, accepted)
	}
	var buffer [1 << 10]byte // Spares most tokens' copy on the heap.
	sum := digest(sha256.Sum256(append(buffer[:0], token...)))
	if entry := g.d.tokens[sum]; entry != nil && subtle.ConstantTimeCompare(entry.sum[:], sum[:]) == 1 {
		if !accepted.Has(Bearer) {
			return notAccepted("a configured token", accepted)
		}
		return g.add(entry)
	}
	verified, refusal := g.d.idToken(ctx, token, sum, accepted)
	if refusal != nil {
		return refusal
	}
	return g.add(verified)
}

func (g *gathering) mintedToken(token string, p *Peer, accepted Accepted) *Refusal {
	if !accepted.Has(Bearer) {
		return notAccepted("a token of kuberelay credential", accepted)
	}
	var m *minted
	if g.d.minter != nil {
		m = g.d.minter.verify(token)
	}
	if m == nil {
		return refuse(ReasonInvalidToken, "the token was not made by this process, which may have restarted; kuberelay credential gets a new one")
	}
	if refusal := m.from(p); refusal != nil {
		return refusal
	}
	if refusal := m.holds(g.now); refusal != nil {
		return refusal
	}
	return g.add(m)
}

// add takes the evidence in, if it is of the same client as that before it.
func (g *gathering) add(e evidence) *Refusal {
	client, expires, refusal := e.resolve(g.d, g.now)
	if refusal != nil {
		return refusal
	}
	if g.count > 0 && client != g.identity.Client {
		_, id := e.describe()
		return refuse(ReasonConflict, "what this request presents belongs to different clients ("+g.identity.ID()+" and "+id+"); present that of one")
	}
	g.identity.Client = client
	g.identity.evidence[g.count] = e
	g.count++
	if !expires.IsZero() && (g.identity.Expires.IsZero() || expires.Before(g.identity.Expires)) {
		g.identity.Expires = expires
	}
	return nil
}

// Review tells whether the Identity's evidence still leads to the same client:
// in d, which may be of another generation than the one that recognised it, and
// at the time now. Evidence that has expired does not, save a minted token,
// whose expiry is for [Directory.Identify] alone. The error is a [*Refusal]. It
// asks no issuer.
func (d *Directory) Review(i *Identity, now time.Time) error {
	if i.evidence[0] == nil {
		return refuse(ReasonNothingPresented, "there is no client")
	}
	for _, e := range i.evidence {
		if e == nil {
			break
		}
		client, _, refusal := e.resolve(d, now)
		if refusal != nil {
			return refusal
		}
		if client != i.Client {
			return refuse(ReasonUnknownClient, "what the client was recognised by ("+i.ID()+") belongs to another client now")
		}
	}
	return nil
}

// nobody is the refusal of a request without evidence.
func nobody(p *Peer, accepted Accepted) *Refusal {
	switch {
	case accepted.Has(UID) && p.UIDKnown:
		return unknownUID(p.UID)
	case accepted.Has(UID) && (p.local() || accepted == NewAccepted([]Method{UID})):
		return uidUnknown(p, "the user ID of the connecting process is not known, so no client can be identified; connect from a process of this machine, on a new connection"+
			orPresent(accepted))
	}
	return refuse(ReasonNothingPresented, "no credential was presented; this listener accepts "+accepted.String())
}

func orPresent(accepted Accepted) string {
	if accepted == NewAccepted([]Method{UID}) {
		return ""
	}
	return ", or present what else this listener accepts (" + accepted.String() + ")"
}

func notAccepted(what string, accepted Accepted) *Refusal {
	return refuse(ReasonMethodNotAccepted, what+" was presented, and this listener accepts only "+accepted.String()+"; leave it out, or use another listener")
}

func invalidToken() *Refusal {
	return refuse(ReasonInvalidToken, "the bearer token is not valid; check it, or ask for a new one")
}
