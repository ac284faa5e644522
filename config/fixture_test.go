package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const exampleDirectory = "/etc/kuberelay/"

// example returns the example and where it names files.
func example(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const kubeconfigYAML = `apiVersion: v1
kind: Config
current-context: staging
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443"}}, {name: none, cluster: {}}]
users: [{name: u, user: {token: very-secret}}]
contexts:
- {name: prod, context: {cluster: c, user: u}}
- {name: staging, context: {cluster: c, user: u}}
- {name: nowhere, context: {cluster: none, user: u}}
`

// installed writes what the example names into a directory, which is returned,
// and the example itself, to which change may be made.
func installed(t testing.TB, change ...func(string) string) (directory, file string) {
	t.Helper()
	directory = t.TempDir() + "/"
	certificate, key := keyPair(t)
	for name, content := range map[string]string{
		"prod.kubeconfig": kubeconfigYAML, "staging.kubeconfig": kubeconfigYAML, "prod.token": "a-token\n",
		"tls.crt": certificate, "tls.key": key,
	} {
		write(t, directory+name, content)
	}
	text := strings.ReplaceAll(example(t), exampleDirectory, directory)
	text = strings.ReplaceAll(text, "unixUser: bob", "uid: 1003") // whom this machine may not have
	for _, f := range change {
		text = f(text)
	}
	file = filepath.Join(directory, "config.yaml")
	write(t, file, text)
	return directory, file
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace returns a change of one text to another, which must be possible.
func replace(t testing.TB, before, after string) func(string) string {
	t.Helper()
	return func(text string) string {
		if strings.Count(text, before) == 0 {
			t.Fatalf("there is no %q to replace", before)
		}
		return strings.Replace(text, before, after, 1)
	}
}

// keyPair returns a certificate, which is its own authority, and its key.
func keyPair(t testing.TB) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube.example.org"}, DNSNames: []string{"kube.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)
}
