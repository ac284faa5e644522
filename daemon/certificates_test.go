package daemon

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/config"
)

// writePair writes a self-signed certificate and its key.
func writePair(t *testing.T, certFile, keyFile, commonName string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		// Later than what was there, whatever the file system's clock.
		later := time.Now().Add(time.Duration(time.Now().UnixNano() % int64(time.Hour)))
		if err := os.Chtimes(file, later, later); err != nil {
			t.Fatal(err)
		}
	}
}

func commonNameOf(t *testing.T, c *tls.Config) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	files := config.ListenerTLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), ClientCAFile: filepath.Join(dir, "ca.crt")}
	caKey := filepath.Join(dir, "ca.key")
	writePair(t, files.CertFile, files.KeyFile, "first")
	writePair(t, files.ClientCAFile, caKey, "first CA")
	c, err := openCertificates(files)
	if err != nil {
		t.Fatal(err)
	}
	state := c.current.Load()
	if commonNameOf(t, state.config) != "first" || state.config.ClientAuth != tls.VerifyClientCertIfGiven || !state.config.SessionTicketsDisabled {
		t.Errorf("certificate %q, client auth %v, tickets disabled %t", commonNameOf(t, state.config), state.config.ClientAuth, state.config.SessionTicketsDisabled)
	}
	if changed, err := c.refresh(); changed || err != nil || c.current.Load() != state {
		t.Errorf("with the same files: changed %t, error %v", changed, err)
	}

	writePair(t, files.CertFile, files.KeyFile, "second")
	if changed, err := c.refresh(); changed || err != nil || commonNameOf(t, c.current.Load().config) != "second" {
		t.Errorf("with a new certificate: authority changed %t, error %v, certificate %q", changed, err, commonNameOf(t, c.current.Load().config))
	}

	before := c.authority()
	writePair(t, files.ClientCAFile, caKey, "second CA")
	if changed, err := c.refresh(); !changed || err != nil || c.authority() == before {
		t.Errorf("with a new authority: changed %t, error %v", changed, err)
	}
}

// pad makes files of one size and one time.
func pad(t *testing.T, at time.Time, files ...string) {
	t.Helper()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, bytes.Repeat([]byte("\n"), 4096-len(content))...)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificatesOfTheSameSizeAndTimeAreReadAgain: a package or cp -p gives
// files the time that it likes.
func TestCertificatesOfTheSameSizeAndTimeAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	files := config.ListenerTLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	next := config.ListenerTLS{CertFile: filepath.Join(dir, "next.crt"), KeyFile: filepath.Join(dir, "next.key")}
	writePair(t, files.CertFile, files.KeyFile, "first")
	writePair(t, next.CertFile, next.KeyFile, "second")
	pad(t, time.Now().Add(-time.Hour), files.CertFile, files.KeyFile, next.CertFile, next.KeyFile)
	c, err := openCertificates(files)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{next.CertFile: files.CertFile, next.KeyFile: files.KeyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.refresh(); err != nil || commonNameOf(t, c.current.Load().config) != "second" {
		t.Errorf("certificate %q, error %v, want the second", commonNameOf(t, c.current.Load().config), err)
	}
}

func TestCertificatesThatAreWrittenAgainAreNoNews(t *testing.T) {
	dir := t.TempDir()
	files := config.ListenerTLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	writePair(t, files.CertFile, files.KeyFile, "first")
	c, err := openCertificates(files)
	if err != nil {
		t.Fatal(err)
	}
	before := c.current.Load()
	pad(t, time.Now(), files.CertFile, files.KeyFile)
	for range 2 { // the second time because the files are that young
		if _, err := c.refresh(); err != nil {
			t.Fatal(err)
		}
		if now := c.current.Load(); now == before || now.news(before) {
			t.Errorf("read again: %t, news: %t", now != before, now.news(before))
		}
	}
	writePair(t, files.CertFile, files.KeyFile, "second")
	if _, err := c.refresh(); err != nil || !c.current.Load().news(before) {
		t.Errorf("another certificate is no news (error %v)", err)
	}
}

func TestCertificatesThatDoNotFitLeaveTheOldOnes(t *testing.T) {
	dir := t.TempDir()
	files := config.ListenerTLS{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	writePair(t, files.CertFile, files.KeyFile, "first")
	c, err := openCertificates(files)
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, files.CertFile, filepath.Join(dir, "other.key"), "second") // its key is not there yet
	if _, err := c.refresh(); err == nil {
		t.Error("no error for a certificate and a key that do not fit")
	}
	if _, err := c.refresh(); err != nil {
		t.Errorf("the same trouble is told again: %v", err)
	}
	if got := commonNameOf(t, c.current.Load().config); got != "first" {
		t.Errorf("certificate %q, want the first one to stay", got)
	}
	if err := os.Rename(filepath.Join(dir, "other.key"), files.KeyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := c.refresh(); err != nil || commonNameOf(t, c.current.Load().config) != "second" || c.current.Load().trouble != "" {
		t.Errorf("once the key is there: error %v, certificate %q", err, commonNameOf(t, c.current.Load().config))
	}
}
