package identify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"
)

// tokenPrefix begins every token of [NewToken], for those who search text for
// secrets.
const tokenPrefix = "kuberelay_"

// maxToken bounds the bytes of a token; those of an issuer that lists groups
// are of some 10 KiB.
const maxToken = 32 << 10

// digest is a token's SHA-256. It formats as its fingerprint.
type digest [sha256.Size]byte

// emptyDigest is the digest of the empty string.
var emptyDigest = digest(sha256.Sum256(nil))

// fingerprint returns the first 8 hex digits: enough to tell tokens apart in a
// log, too few to reveal anything about one.
func (d digest) fingerprint() string { return hex.EncodeToString(d[:4]) }

// String returns the fingerprint.
func (d digest) String() string { return d.fingerprint() }

// NewToken returns a new bearer token of 256 random bits, and what its match
// has as tokenSHA256: the SHA-256 of the token's bytes in lower-case hex.
func NewToken() (token, sha256hex string) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // It never fails: crypto/rand says so.
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(token))
	return token, hex.EncodeToString(sum[:])
}

// tokenEntry is a configured token and its client.
type tokenEntry struct {
	client  string
	sum     digest
	expires time.Time // zero: never
}

func (t *tokenEntry) describe() (Method, string) { return Bearer, "token:" + t.sum.fingerprint() }

func (t *tokenEntry) resolve(d *Directory, now time.Time) (string, time.Time, *Refusal) {
	e := d.tokens[t.sum]
	switch {
	case e == nil:
		return "", time.Time{}, refuse(ReasonInvalidToken, "the bearer token is not valid any more; ask for a new one")
	case !e.expires.IsZero() && !now.Before(e.expires):
		return "", time.Time{}, refuse(ReasonExpired, "the bearer token has expired; ask for a new one")
	}
	return e.client, e.expires, nil
}
