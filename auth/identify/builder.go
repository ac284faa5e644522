package identify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	// overflowUID is what the kernel reports of a user that has no ID in this
	// user namespace (/proc/sys/kernel/overflowuid).
	overflowUID = 65534
	// noUID is (uid_t)-1: nobody has it.
	noUID = 1<<32 - 1
	// systemPrefix is reserved for Kubernetes' own users and groups.
	systemPrefix = "system:"
)

// builder puts clients into a Directory and gathers what is wrong with them.
type builder struct {
	d          *Directory
	clients    []Client
	lookupUser func(string) (uint32, error)
	owners     map[key]owner
	problems   []error
}

// owner is the match that evidence belongs to.
type owner struct{ client, match int }

// key is evidence as configured, which one client can have.
type key interface{ what() string }

type (
	uidKey        uint32
	commonNameKey string
	claimKey      struct{ issuer, audience, claim, value string }
)

func (k uidKey) what() string        { return fmt.Sprintf("uid %d", uint32(k)) }
func (d digest) what() string        { return "token " + d.fingerprint() + "…" }
func (k commonNameKey) what() string { return fmt.Sprintf("the certificate name %q", string(k)) }
func (k claimKey) what() string {
	return fmt.Sprintf("%s %q of issuer %s for audience %q", k.claim, k.value, k.issuer, k.audience)
}

func (b *builder) problem(at owner, field, format string, args ...any) {
	b.problems = append(b.problems, &MatchError{
		Client: at.client, Match: at.match, Field: field, Err: fmt.Errorf(format, args...),
	})
}

// add puts in the client with index n.
func (b *builder) add(n int) {
	c := &b.clients[n]
	itself := owner{n, -1}
	switch first, taken := b.d.names[c.Name]; {
	case c.Name == "":
		b.problem(itself, "name", "is empty: give the client a name")
	case strings.HasPrefix(c.Name, systemPrefix):
		b.problem(itself, "name", "%q: names that begin with %q are Kubernetes' own: choose another", c.Name, systemPrefix)
	case taken:
		b.problem(itself, "name", "%q is the name of clients[%d] too: names are unique", c.Name, first)
	default:
		b.d.names[c.Name] = n
	}
	for m := range c.Match {
		b.match(owner{n, m}, c.Name, &c.Match[m])
	}
}

func (b *builder) match(at owner, client string, m *Match) {
	kinds := 0
	for _, set := range []bool{m.UID != nil, m.UnixUser != "", m.TokenSHA256 != "", m.Certificate != nil, m.OIDC != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		b.problem(at, "", "has %d of uid, unixUser, tokenSHA256, certificate and oidc: give exactly one; any one match is enough", kinds)
		return
	}
	if m.TokenSHA256 == "" && !m.Expires.IsZero() {
		b.problem(at, "expires", "is for tokenSHA256 only: leave it out")
	}
	switch {
	case m.UID != nil:
		b.uid(at, "uid", client, *m.UID)
	case m.UnixUser != "":
		b.unixUser(at, client, m.UnixUser)
	case m.TokenSHA256 != "":
		b.token(at, client, m.TokenSHA256, m.Expires)
	case m.Certificate != nil:
		b.certificate(at, client, m.Certificate.CommonName)
	case m.OIDC != nil:
		b.oidc(at, client, m.OIDC)
	}
}

// claim makes the match the evidence's owner. It returns false if the evidence
// has one already. A second claim is a problem if it is another client's or,
// unless twice is allowed, the same client's.
func (b *builder) claim(at owner, field string, k key, twice bool) bool {
	first, taken := b.owners[k]
	switch {
	case !taken:
		b.owners[k] = at
		return true
	case first.client != at.client:
		b.problem(at, field, "%s identifies client %q and client %q (clients[%d].match[%d]): it can identify one only",
			k.what(), b.clients[at.client].Name, b.clients[first.client].Name, first.client, first.match)
	case !twice:
		b.problem(at, field, "%s is in match[%d] of the same client too: leave one of them out", k.what(), first.match)
	}
	return false
}

func (b *builder) uid(at owner, field, client string, uid uint32) {
	if uid == noUID {
		b.problem(at, field, "%d is no user's ID", uid)
		return
	}
	// The same user by name and by number is one client twice, and harmless.
	if b.claim(at, field, uidKey(uid), true) {
		b.d.uids[uid] = &uidEntry{client: client, uid: uid}
	}
}

func (b *builder) unixUser(at owner, client, name string) {
	uid, err := b.lookupUser(name)
	switch {
	case err != nil:
		b.problem(at, "unixUser", "user %q cannot be looked up: %w: create the user, or write its uid", name, err)
	case uid == 0, uid == overflowUID:
		// The kernel reports these two also where it does not know better.
		b.problem(at, "unixUser", "user %q has uid %d, which matches only where it is written: write uid: %d if you mean it", name, uid, uid)
	default:
		b.uid(at, "unixUser", client, uid)
	}
}

func (b *builder) token(at owner, client, sum string, expires time.Time) {
	d, err := parseDigest(sum)
	if err != nil {
		b.problem(at, "tokenSHA256", "%w: run kuberelay token for a new token and its tokenSHA256", err)
		return
	}
	if d == emptyDigest {
		b.problem(at, "tokenSHA256", "is the SHA-256 of nothing: run kuberelay token for a new token and its tokenSHA256")
		return
	}
	if b.claim(at, "tokenSHA256", d, false) {
		b.d.tokens[d] = &tokenEntry{client: client, sum: d, expires: expires}
	}
}

func (b *builder) certificate(at owner, client, name string) {
	const field = "certificate.commonName"
	switch {
	case name == "":
		b.problem(at, field, "is empty: give the subject's common name")
	case b.claim(at, field, commonNameKey(name), true):
		b.d.commonNames[name] = client
	}
}

func (b *builder) oidc(at owner, client string, m *OIDCMatch) {
	before := len(b.problems)
	claim := m.Claim
	if claim == "" {
		claim = "sub"
	}
	known := b.d.issuers[m.Issuer]
	if known == nil {
		if err := checkIssuer(m.Issuer); err != nil {
			b.problem(at, "oidc.issuer", "%q: %w", m.Issuer, err)
		}
	}
	if m.Audience == "" {
		b.problem(at, "oidc.audience", "is empty: give kuberelay's client ID at the issuer, which its tokens have in aud")
	}
	switch {
	case m.Value == "":
		b.problem(at, "oidc.value", "is empty: give what the claim %s must be", claim)
	case strings.HasPrefix(m.Value, systemPrefix):
		b.problem(at, "oidc.value", "%q: names that begin with %q are Kubernetes' own, and no issuer gives them", m.Value, systemPrefix)
	}
	if len(b.problems) > before {
		return
	}
	if known == nil {
		iss, err := b.d.oidc.open(m.Issuer, m.CAFile)
		if err != nil {
			b.problem(at, "oidc.caFile", "%w", err)
			return
		}
		known = &audiences{issuer: iss, first: at, by: make(map[string]map[string]map[string]string)}
		b.d.issuers[m.Issuer] = known
	}
	if known.issuer.caFile != m.CAFile {
		b.problem(at, "oidc.caFile", "is %q here and %q for the same issuer in clients[%d].match[%d] (client %q): an issuer has one",
			m.CAFile, known.issuer.caFile, known.first.client, known.first.match, b.clients[known.first.client].Name)
		return
	}
	if b.claim(at, "oidc.value", claimKey{m.Issuer, m.Audience, claim, m.Value}, true) {
		known.add(m.Audience, claim, m.Value, client)
	}
}

// checkIssuer returns why s cannot be an issuer's identifier (OpenID Connect
// Discovery 1.0 §3), nil if it can.
func checkIssuer(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("is not a URL: write the issuer's, as its tokens have it in iss")
	case u.Scheme != "https" || u.Host == "":
		return errors.New("must be a URL that begins with https://, since its keys decide who is let in")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("must have no user, query and fragment")
	}
	return nil
}

// parseDigest parses 64 lower-case hex digits.
func parseDigest(s string) (digest, error) {
	var d digest
	if len(s) != hex.EncodedLen(len(d)) || strings.ToLower(s) != s {
		return d, errors.New("is not 64 lower-case hex digits")
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return d, errors.New("is not 64 lower-case hex digits")
	}
	return d, nil
}
