package fakeapi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// CA is a certificate authority made for one test.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  []byte // its certificate
}

// NewCA makes a certificate authority. The servers of one cluster share one:
// see Options.CA.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca, err := newCA()
	if err != nil {
		t.Fatalf("fakeapi: make a CA: %v", err)
	}
	return ca
}

func newCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("fakeapi-ca")
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key, PEM: pemBlock("CERTIFICATE", der)}, nil
}

func newTemplate(name string, organizations ...string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name, Organization: organizations},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}, nil
}

// sign makes a key pair from the template.
func (ca *CA) sign(template *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", keyDER), nil
}

// ClientCertificate makes a client certificate for a user and its groups.
func (ca *CA) ClientCertificate(t testing.TB, user string, groups ...string) (certPEM, keyPEM []byte) {
	t.Helper()
	template, err := newTemplate(user, groups...)
	if err == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		certPEM, keyPEM, err = ca.sign(template)
	}
	if err != nil {
		t.Fatalf("fakeapi: make a client certificate: %v", err)
	}
	return certPEM, keyPEM
}

// ClientCertificateUntil is ClientCertificate with another end, in whole seconds.
func (ca *CA) ClientCertificateUntil(t testing.TB, until time.Time, user string) (certPEM, keyPEM []byte) {
	t.Helper()
	template, err := newTemplate(user)
	if err == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		template.NotAfter = until
		certPEM, keyPEM, err = ca.sign(template)
	}
	if err != nil {
		t.Fatalf("fakeapi: make a client certificate: %v", err)
	}
	return certPEM, keyPEM
}

// ServerCertificate makes a server's certificate for localhost.
func (ca *CA) ServerCertificate(t testing.TB) (certPEM, keyPEM []byte) {
	t.Helper()
	template, err := newTemplate("localhost")
	if err == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.DNSNames = []string{"localhost"}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		certPEM, keyPEM, err = ca.sign(template)
	}
	if err != nil {
		t.Fatalf("fakeapi: make a server certificate: %v", err)
	}
	return certPEM, keyPEM
}

// Certificate is what is right or wrong with a server's certificate.
type Certificate uint8

// The certificates a server can present.
const (
	GoodCertificate Certificate = iota
	OtherCA                     // signed by an authority nobody trusts
	WrongName                   // for another host
	Expired                     // since yesterday
)

// serverTLS returns a TLS configuration that presents the certificate. Each has
// its own session tickets, so that no session outlives a change.
func (ca *CA) serverTLS(kind Certificate, http1Only bool) (*tls.Config, error) {
	template, err := newTemplate("kube-apiserver")
	if err != nil {
		return nil, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 96, 0, 1)}
	signer := ca
	switch kind {
	case OtherCA:
		if signer, err = newCA(); err != nil {
			return nil, err
		}
	case WrongName:
		template.DNSNames, template.IPAddresses = []string{"other.example.org"}, nil
	case Expired:
		template.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	certPEM, keyPEM, err := signer.sign(template)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	cfg := &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientCAs:    clients,
		ClientAuth:   tls.VerifyClientCertIfGiven,
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if http1Only {
		cfg.NextProtos = []string{"http/1.1"}
	}
	return cfg, nil
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
