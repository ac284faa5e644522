package identify

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// maxSkew is how far an issuer's clock may be ahead of ours.
const maxSkew = 30 * time.Second

// idToken is an ID token whose signature, issuer and times were verified.
type idToken struct {
	issuer        *issuer
	keys          *keySet // what it was verified with
	subject       string
	audience      []string
	expires       time.Time
	claims        map[string][]string // those that are a string or a list of strings
	emailVerified bool
}

func (t *idToken) describe() (Method, string) {
	return OIDC, "oidc:" + printable(t.issuer.url, 256) + "#" + printable(t.subject, 256)
}

func (t *idToken) resolve(d *Directory, now time.Time) (string, time.Time, *Refusal) {
	if !now.Before(t.expires) {
		return "", time.Time{}, refuse(ReasonExpired, "the ID token has expired; log in again")
	}
	known := d.issuers[t.issuer.url]
	if known == nil {
		return "", time.Time{}, refuse(ReasonUnknownClient, "the ID token's issuer is not configured any more")
	}
	client, refusal := known.client(t)
	return client, t.expires, refusal
}

// idToken verifies the token, which is neither minted nor configured. The
// verification is remembered as long as its keys are the issuer's.
func (d *Directory) idToken(ctx context.Context, token string, sum digest, accepted Accepted) (*idToken, *Refusal) {
	if len(d.issuers) == 0 {
		return nil, invalidToken()
	}
	seen := d.oidc.verified.get(sum)
	var name string
	if seen != nil {
		name = seen.issuer.url
	} else {
		name = unverifiedIssuer(token)
	}
	known := d.issuers[name]
	switch {
	case known == nil:
		return nil, invalidToken()
	case !accepted.Has(OIDC):
		return nil, notAccepted("an ID token", accepted)
	}
	keys, err := known.issuer.current(ctx)
	if keys == nil {
		return nil, unavailable(err)
	}
	if seen != nil && seen.issuer == known.issuer && seen.keys == keys {
		return seen, nil
	}
	verified, refusal := known.issuer.verify(ctx, token, keys)
	if refusal != nil {
		return nil, refusal
	}
	d.oidc.verified.put(sum, verified)
	return verified, nil
}

// unverifiedIssuer returns the iss claim of a compact JWS (RFC 7515 §7.1), ""
// if the token is none. It only says who is to verify the token.
func unverifiedIssuer(token string) string {
	_, rest, ok := strings.Cut(token, ".")
	if !ok {
		return ""
	}
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return ""
	}
	raw, err := strict64.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(raw, &claims) != nil {
		return ""
	}
	return stringClaim(claims["iss"])
}

// verify verifies signature, issuer and times, with the keys given or newer
// ones.
func (i *issuer) verify(ctx context.Context, token string, keys *keySet) (*idToken, *Refusal) {
	signature := &signatureCheck{issuer: i, keys: keys}
	// Audience and times are checked below: the first is the match's, and
	// go-oidc allows five minutes of skew.
	allowed := make([]string, 0, 10)
	for _, a := range algorithms() {
		allowed = append(allowed, string(a))
	}
	verifier := oidc.NewVerifier(i.url, signature, &oidc.Config{
		SupportedSigningAlgs: allowed, SkipClientIDCheck: true, SkipExpiryCheck: true,
	})
	verified, err := verifier.Verify(ctx, token)
	switch {
	case signature.refusal != nil:
		return nil, signature.refusal
	case err != nil:
		return nil, refuse(ReasonInvalidToken, "the ID token is malformed, or signed in a way that is not accepted; log in again")
	}
	var claims map[string]json.RawMessage
	if err := verified.Claims(&claims); err != nil {
		return nil, refuse(ReasonInvalidToken, "the ID token's claims are not a JSON object")
	}
	t := &idToken{issuer: i, keys: signature.keys}
	return t, t.read(claims, i.all.now())
}

// signatureCheck is the go-oidc KeySet of one verification.
type signatureCheck struct {
	issuer  *issuer
	keys    *keySet
	refusal *Refusal // go-oidc does not wrap errors
}

var errSignature = errors.New("the signature was not verified")

// VerifySignature returns the token's payload, after having fetched the keys
// anew where the token names one that is not known.
func (c *signatureCheck) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms())
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errSignature
	}
	header := signed.Signatures[0].Protected
	if payload, ok := c.keys.verify(signed, header.KeyID, header.Algorithm); ok {
		return payload, nil
	}
	bad := refuse(ReasonInvalidToken, "the ID token's signature is not its issuer's; log in again")
	if header.KeyID != "" && c.keys.has(header.KeyID) {
		c.refusal = bad
		return nil, errSignature
	}
	keys, err := c.issuer.renewed(ctx)
	if keys != nil && keys != c.keys {
		c.keys = keys
		if payload, ok := keys.verify(signed, header.KeyID, header.Algorithm); ok {
			return payload, nil
		}
	}
	c.refusal = bad
	if err != nil {
		c.refusal = unavailable(err)
	}
	return nil, errSignature
}

func unavailable(err error) *Refusal {
	return &Refusal{
		Reason: ReasonIssuerUnavailable, Err: err,
		Message: "the keys of the ID token's issuer cannot be fetched now, so the token cannot be verified; try again, or use another credential",
	}
}
