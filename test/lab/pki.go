package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki is the lab's certificate authority and the directory of what it issued.
type pki struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// Certificates hold this long. A lab lives for minutes; a day covers one that
// somebody left running.
const certificateLifetime = 24 * time.Hour

func newPKI(dir string) (*pki, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("kuberelay-lab-ca")
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	p := &pki{dir: dir, key: key, pool: x509.NewCertPool()}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	p.pool.AddCert(p.cert)
	return p, writePEM(p.file("ca.crt"), "CERTIFICATE", der)
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

func newTemplate(commonName string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.Add(certificateLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, nil
}

// serving issues a server certificate as NAME.crt and NAME.key.
func (p *pki) serving(name string, hosts ...string) (certFile, keyFile string, err error) {
	template, err := newTemplate(name)
	if err != nil {
		return "", "", err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return p.issue(name, template)
}

// client issues a client certificate as NAME.crt and NAME.key. The API servers
// take the common name for the user and the organizations for the groups.
func (p *pki) client(name, user string, groups ...string) (certFile, keyFile string, err error) {
	template, err := newTemplate(user)
	if err != nil {
		return "", "", err
	}
	template.Subject.Organization = groups
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return p.issue(name, template)
}

func (p *pki) issue(name string, template *x509.Certificate) (certFile, keyFile string, err error) {
	key, keyFile, err := p.newKey(name)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, &key.PublicKey, p.key)
	if err != nil {
		return "", "", fmt.Errorf("issue certificate %s: %w", name, err)
	}
	certFile = p.file(name + ".crt")
	return certFile, keyFile, writePEM(certFile, "CERTIFICATE", der)
}

// newKey writes a private key as NAME.key.
func (p *pki) newKey(name string) (*ecdsa.PrivateKey, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	file := p.file(name + ".key")
	return key, file, writePEM(file, "PRIVATE KEY", der)
}

// tlsConfig is for a client of the API servers with the given certificate.
func (p *pki) tlsConfig(certFile, keyFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: p.pool, Certificates: []tls.Certificate{cert}}, nil
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
