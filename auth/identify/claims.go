package identify

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// read takes over what is needed of the claims, whose names are compared to the
// letter, and checks the times. The issuer is the one that iss led to.
func (t *idToken) read(claims map[string]json.RawMessage, now time.Time) *Refusal {
	t.subject = stringClaim(claims["sub"])
	t.audience = stringsClaim(claims["aud"])
	switch {
	case t.subject == "":
		return refuse(ReasonInvalidToken, "the ID token has no sub; log in again")
	case len(t.audience) == 0:
		return refuse(ReasonInvalidToken, "the ID token has no aud; log in again")
	}
	expires, ok := numericDate(claims["exp"])
	if !ok {
		return refuse(ReasonInvalidToken, "the ID token has no exp, or none that is a time; log in again")
	}
	t.expires = expires
	if !now.Before(expires) {
		return refuse(ReasonExpired, "the ID token has expired; log in again")
	}
	for _, name := range []string{"nbf", "iat"} {
		raw, has := claims[name]
		if !has {
			continue
		}
		switch from, ok := numericDate(raw); {
		case !ok:
			return refuse(ReasonInvalidToken, "the ID token's "+name+" is not a time")
		case from.After(now.Add(maxSkew)):
			return refuse(ReasonExpired, "the ID token's "+name+" is in the future, so it is not valid yet; check the clocks")
		}
	}
	t.claims = make(map[string][]string, len(claims))
	for name, raw := range claims {
		if values := stringsClaim(raw); len(values) > 0 {
			t.claims[name] = values
		}
	}
	t.emailVerified = string(claims["email_verified"]) == "true"
	return nil
}

// stringClaim returns the claim if it is a string, "" if not.
func stringClaim(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// stringsClaim returns the claim if it is a string or a list of strings, nil if
// not.
func stringsClaim(raw json.RawMessage) []string {
	if len(raw) == 0 {
		return nil
	}
	switch raw[0] {
	case '"':
		return []string{stringClaim(raw)}
	case '[':
		var list []*string // A null is no string.
		if json.Unmarshal(raw, &list) != nil || slices.Contains(list, nil) {
			return nil
		}
		values := make([]string, len(list))
		for n, s := range list {
			values[n] = *s
		}
		return values
	}
	return nil
}

// numericDate returns the time of a NumericDate (RFC 7519 §2), its fraction cut
// off.
func numericDate(raw json.RawMessage) (time.Time, bool) {
	const farthest = 1 << 40 // some 35,000 years
	var seconds *float64
	if len(raw) == 0 || json.Unmarshal(raw, &seconds) != nil || seconds == nil || *seconds < 0 || *seconds > farthest {
		return time.Time{}, false
	}
	return time.Unix(int64(math.Floor(*seconds)), 0), true
}

// audiences are the matches of one issuer.
type audiences struct {
	issuer *issuer
	first  owner // the match that named the issuer first
	// by has, for each audience and claim, the client of each value.
	by map[string]map[string]map[string]string
}

func (a *audiences) add(audience, claim, value, client string) {
	claims := a.by[audience]
	if claims == nil {
		claims = make(map[string]map[string]string)
		a.by[audience] = claims
	}
	if claims[claim] == nil {
		claims[claim] = make(map[string]string)
	}
	claims[claim][value] = client
}

// client returns the one client whose matches the token has the claims of.
func (a *audiences) client(t *idToken) (string, *Refusal) {
	client, forUs, unverified := "", false, false
	for _, audience := range t.audience {
		for claim, clients := range a.by[audience] {
			forUs = true
			for _, value := range t.claims[claim] {
				found, ok := clients[value]
				switch {
				case !ok || found == client:
				case claim == "email" && !t.emailVerified:
					unverified = true
				case client != "":
					return "", refuse(ReasonConflict, "the ID token's claims belong to two clients; ask for the matches to be told apart")
				default:
					client = found
				}
			}
		}
	}
	switch {
	case client != "":
		return client, nil
	case !forUs:
		return "", refuse(ReasonInvalidToken, "the ID token was issued for another audience; log in with the client ID that is configured here")
	case unverified:
		return "", refuse(ReasonUnknownClient, "the ID token's e-mail address is not verified (email_verified), so it identifies nobody; verify it at the issuer and log in again")
	}
	return "", refuse(ReasonUnknownClient, "no client is configured for the ID token's claims; ask for a client with a match of oidc")
}
