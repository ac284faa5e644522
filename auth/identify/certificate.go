package identify

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// certificate is a client certificate that the listener has verified, and until
// when it and its issuers hold.
type certificate struct {
	leaf      *x509.Certificate
	notBefore time.Time
	notAfter  time.Time
}

// presentedCertificate returns the connection's client certificate, nil if it
// has none.
func presentedCertificate(state *tls.ConnectionState) (*certificate, *Refusal) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil, nil
	}
	// All chains were verified when the connection began, and any one is
	// enough: it is the one that holds longest.
	var best *certificate
	for _, chain := range state.VerifiedChains {
		if len(chain) == 0 {
			continue
		}
		c := &certificate{leaf: chain[0], notBefore: chain[0].NotBefore, notAfter: chain[0].NotAfter}
		for _, issuer := range chain[1:] {
			if issuer.NotBefore.After(c.notBefore) {
				c.notBefore = issuer.NotBefore
			}
			if issuer.NotAfter.Before(c.notAfter) {
				c.notAfter = issuer.NotAfter
			}
		}
		if best == nil || c.notAfter.After(best.notAfter) {
			best = c
		}
	}
	if best == nil {
		return nil, refuse(ReasonInvalidCertificate, "the client certificate was not issued by this listener's CA; present another, or none")
	}
	return best, nil
}

func (c *certificate) describe() (Method, string) {
	serial := "none"
	if c.leaf.SerialNumber != nil {
		serial = c.leaf.SerialNumber.Text(16)
	}
	return Certificate, "certificate:" + printable(serial, 64)
}

func (c *certificate) resolve(d *Directory, now time.Time) (string, time.Time, *Refusal) {
	switch {
	case now.Before(c.notBefore):
		return "", time.Time{}, refuse(ReasonExpired, "the client certificate is not valid yet; check the clocks")
	case !now.Before(c.notAfter):
		return "", time.Time{}, refuse(ReasonExpired, "the client certificate has expired; get a new one")
	}
	name := c.leaf.Subject.CommonName
	client, ok := d.commonNames[name]
	if !ok || name == "" {
		return "", time.Time{}, refuse(ReasonUnknownClient, "no client is configured for the certificate's common name "+`"`+printable(name, 128)+`"`+
			"; ask for a client with a match of certificate")
	}
	return client, c.notAfter, nil
}
