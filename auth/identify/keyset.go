package identify

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// maxKeys bounds the keys of one issuer. Issuers have two or three.
	maxKeys = 64
	// minRSABits is what RFC 7518 §3.3 asks of a key.
	minRSABits = 2048
)

// algorithms are the signatures that an ID token may have: those of a public
// key, so never none, and never HS256, whose key the client may know as well.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512,
		jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
	}
}

// keySet is an issuer's keys at one time. It is immutable once published.
type keySet struct {
	keys    []jose.JSONWebKey
	fetched time.Time // when the fetch began
}

// usable reports whether tokens may be verified with the keys. The set may be
// nil.
func (k *keySet) usable(now time.Time) bool {
	return k != nil && now.Sub(k.fetched) < maxKeyAge
}

// has reports whether a key has the ID, which is not empty.
func (k *keySet) has(id string) bool {
	return slices.ContainsFunc(k.keys, func(key jose.JSONWebKey) bool { return key.KeyID == id })
}

// verify returns the token's payload if one of the keys has signed it: the one
// that the token names, or any if it names none.
func (k *keySet) verify(token *jose.JSONWebSignature, id, algorithm string) (payload []byte, ok bool) {
	for _, key := range k.keys {
		if id != "" && key.KeyID != id || key.Algorithm != "" && key.Algorithm != algorithm {
			continue
		}
		if payload, err := token.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// parseKeys parses a JWK Set. As RFC 7517 §5 wants it, keys that are of no use
// here are left out: other types, other uses, and weak ones. It is an error if
// none is left, which keeps the keys that are there.
func parseKeys(document []byte) (*keySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, fmt.Errorf("not a JWK Set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("there are %d keys, more than the %d that are looked at", len(set.Keys), maxKeys)
	}
	k := &keySet{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && isVerifier(&key) {
			k.keys = append(k.keys, key)
		}
	}
	if len(k.keys) == 0 {
		return nil, errors.New("none of the keys can verify an ID token (RSA of 2048 bits, EC, or Ed25519; use sig)")
	}
	return k, nil
}

// isVerifier reports whether the key is a public one for signatures.
func isVerifier(key *jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}
