package auth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxClaims bounds the claims that are parsed for their expiry.
const maxClaims = 64 << 10

// jwtExpiry returns the exp claim (RFC 7519 §4.1.4) of a token, zero when it is
// no JWT or has none. Nothing is verified: the time is a hint about a credential
// of our own.
func jwtExpiry(token string) time.Time {
	_, rest, ok := strings.Cut(token, ".")
	if !ok {
		return time.Time{}
	}
	claims, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") || len(claims) > maxClaims {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil {
		return time.Time{}
	}
	var parsed struct {
		Expiry *float64 `json:"exp"` // NumericDate: seconds, possibly with a fraction
	}
	if json.Unmarshal(raw, &parsed) != nil || parsed.Expiry == nil {
		return time.Time{}
	}
	const farthest = 1 << 40 // some 35,000 years: what time.Time and JSON can hold
	if s := *parsed.Expiry; s > 0 && s < farthest {
		return time.Unix(int64(s), 0)
	}
	return time.Time{}
}
