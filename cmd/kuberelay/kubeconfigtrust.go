package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/kuberelay/kuberelay/config"
)

// verification is how kubectl verifies a listener's certificate.
type verification struct {
	authority  []byte // in PEM; nil: the system's
	serverName string // that the certificate is for; empty: the host that is dialed
}

// verification is by an authority that was named or is the end of the
// listener's chain, and for a host or whatever else the certificate is for.
func (w *kubeconfigWishes) verification(l *config.Listener, host string) (v verification, notes []string, err error) {
	if w.authority != "" {
		if v.authority, err = readAuthority(w.authority); err != nil {
			return v, nil, fmt.Errorf("--certificate-authority: %w", err)
		}
	}
	const instead = "kubectl will use the system's authorities, or name one with --certificate-authority"
	chain, err := readChain(l.TLS.CertFile)
	if err != nil {
		if v.authority == nil {
			notes = append(notes, fmt.Sprintf("the certificate of listener %s cannot be read (%v): %s", l.Name, err, instead))
		}
		return v, notes, nil
	}
	if last := chain[len(chain)-1]; v.authority == nil {
		if selfSigned(last) {
			v.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: last.Raw})
		} else {
			notes = append(notes, fmt.Sprintf("the chain of listener %s does not end in its authority: %s", l.Name, instead))
		}
	}
	if chain[0].VerifyHostname(host) == nil {
		return v, notes, nil
	}
	for _, name := range slices.Concat(l.Hosts, chain[0].DNSNames) {
		if chain[0].VerifyHostname(name) == nil {
			v.serverName = name
			return v, notes, nil
		}
	}
	return v, append(notes, fmt.Sprintf("the certificate of listener %s is not for %s: kubectl will not trust it", l.Name, host)), nil
}

func readAuthority(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return data, nil
}

// readChain reads the certificates of a file, at least one, and skips whatever
// else is in it.
func readChain(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return chain, nil
}

func selfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}
