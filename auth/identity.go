package auth

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
)

// identity is a digest by which two credentials or two sets of options are
// compared without keeping the secrets in them. It is never printed.
type identity [sha256.Size]byte

// identify digests parts; where one ends and the next begins matters.
func identify(parts ...string) identity {
	h := sha256.New()
	for _, p := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write([]byte(p))
	}
	return identity(h.Sum(nil))
}

// certificateDER returns the chain as one string, "" for no certificate.
func certificateDER(c *tls.Certificate) string {
	if c == nil {
		return ""
	}
	var der []byte
	for _, link := range c.Certificate {
		der = append(der, link...)
	}
	return string(der)
}
