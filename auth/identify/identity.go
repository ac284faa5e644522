package identify

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// maxEvidence is how many pieces of evidence one request can present: the
// peer's uid, a certificate, a token in Authorization and one among the
// websocket subprotocols.
const maxEvidence = 4

// Identity is the client that was recognised, and what that rests on. It is
// small, immutable, and may be copied. The zero value is nobody. It holds no
// token.
type Identity struct {
	// Client is the client's name in the configuration.
	Client string

	// Expires is when the first of the evidence ceases to hold for what is new.
	// Zero: never.
	Expires time.Time

	evidence [maxEvidence]evidence // the first nil one ends it
}

// evidence is one thing that a client is recognised by. It is immutable.
type evidence interface {
	// describe returns the method, and an identifier for logs and audit events
	// that is bounded, printable, and no secret.
	describe() (Method, string)

	// resolve returns whose evidence it is according to d, and until when. It
	// does not ask again for what holds once and for all, as a signature does.
	resolve(d *Directory, now time.Time) (client string, expires time.Time, refusal *Refusal)
}

// Method names the methods of the evidence, in the order of [Methods], joined
// by "+": "uid", "bearer", "uid+certificate".
func (i *Identity) Method() string {
	methods, n := [maxEvidence]string{}, 0
	for _, m := range Methods() {
		for _, e := range i.evidence {
			if e == nil {
				break
			}
			if has, _ := e.describe(); has == m {
				methods[n] = string(m)
				n++
				break
			}
		}
	}
	if n == 1 {
		return methods[0]
	}
	return strings.Join(methods[:n], "+")
}

// ID names the evidence for logs and audit events, without a secret: "uid:1001";
// "token:3fa9c1d2", the first 8 hex digits of the token's SHA-256;
// "minted:uid:1001"; "certificate:" and the serial number in hex; "oidc:", the
// issuer, "#" and the subject. Several are joined by "+". It is printable ASCII
// of at most some 2 KiB; whatever else is in it is percent-encoded.
func (i *Identity) ID() string {
	if i.evidence[0] == nil {
		return ""
	}
	_, id := i.evidence[0].describe()
	for _, e := range i.evidence[1:] {
		if e == nil {
			break
		}
		_, next := e.describe()
		id += "+" + next
	}
	return id
}

// UID returns the peer's user ID where the client was recognised by it: the
// user for whom a token may be minted.
func (i *Identity) UID() (uid uint32, ok bool) {
	for _, e := range i.evidence {
		if u, is := e.(*uidEntry); is {
			return u.uid, true
		}
	}
	return 0, false
}

// AcceptedBy reports whether all the evidence is of methods that the listener
// takes: an open stream asks it again when a listener has got other methods.
func (i *Identity) AcceptedBy(a Accepted) bool {
	for _, e := range i.evidence {
		if e == nil {
			break
		}
		if m, _ := e.describe(); !a.Has(m) {
			return false
		}
	}
	return i.evidence[0] != nil
}

// String returns the client's name and [Identity.ID].
func (i Identity) String() string { return i.Client + " (" + i.ID() + ")" }

// Format writes what String returns, for every verb.
func (i Identity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.String()) }
