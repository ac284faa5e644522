package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func open(t *testing.T, c *rest.Config) (*Kubeconfig, error) {
	t.Helper()
	k, err := OpenKubeconfig(KubeconfigOptions{Load: func() (*rest.Config, error) { return c, nil }, Name: "prod"})
	if err == nil {
		t.Cleanup(k.Close)
	}
	return k, err
}

func TestEndpointURL(t *testing.T) {
	for host, want := range map[string]string{
		"https://a.example:6443":            "https://a.example:6443",
		"https://a.example/k8s/clusters/c1": "https://a.example/k8s/clusters/c1",
		"http://localhost:8080":             "http://localhost:8080",
		"localhost:8080":                    "http://localhost:8080",
		"a.example:6443":                    "http://a.example:6443",
		"":                                  "http://localhost",
		"https://u:p@a.example":             "https://a.example",
		"https://a.example/?x=1#y":          "https://a.example/",
	} {
		k, err := open(t, &rest.Config{Host: host})
		if err != nil {
			t.Errorf("%q: %v", host, err)
			continue
		}
		if got := k.Endpoint().URL.String(); got != want {
			t.Errorf("%q: URL = %s, want %s", host, got, want)
		}
	}
	k, err := open(t, &rest.Config{Host: "a.example:6443", TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Endpoint().URL.String(); got != "https://a.example:6443" {
		t.Errorf("with TLS options URL = %s, want https", got)
	}
}

func TestServerURLErrors(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1:18080":       "first path segment in URL cannot contain colon",
		"ftp://a.example":       `scheme "ftp" is neither http nor https`,
		"https://a:b:c":         "invalid port",
		"https://:6443":         "the host is missing",
		"https://u:p/w@a:x":     "it cannot be parsed",
		"https://u:secr%zz@a:1": "it cannot be parsed",
	} {
		_, err := open(t, &rest.Config{Host: host})
		var bad *ServerURLError
		if !errors.As(err, &bad) {
			t.Errorf("%q: error %v, want a ServerURLError", host, err)
			continue
		}
		if !strings.Contains(bad.Err.Error(), want) {
			t.Errorf("%q: error %q, want %q in it", host, bad.Err, want)
		}
		if strings.Contains(host, "@") && (strings.Contains(err.Error(), "p/w") || strings.Contains(err.Error(), "secr")) {
			t.Errorf("%q: the error shows the password: %v", host, err)
		}
	}
}

func TestEndpointTLS(t *testing.T) {
	ca := newAuthority(t)
	certPEM, keyPEM := ca.issue(t, "alice", time.Now().Add(time.Hour))
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	k, err := open(t, &rest.Config{Host: "https://127.0.0.1", TLSClientConfig: rest.TLSClientConfig{
		CAFile: file("ca", ca.pem), CertFile: file("cert", certPEM), KeyFile: file("key", keyPEM), ServerName: "api.internal",
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := k.Endpoint().TLS
	if c.InsecureSkipVerify || c.RootCAs == nil || c.ServerName != "api.internal" || c.MinVersion != tls.VersionTLS12 {
		t.Errorf("TLS = insecure %t, roots %v, name %q, min %x", c.InsecureSkipVerify, c.RootCAs != nil, c.ServerName, c.MinVersion)
	}
	shown, err := c.GetClientCertificate(&tls.CertificateRequestInfo{})
	if err != nil || shown.Leaf.Subject.CommonName != "alice" {
		t.Errorf("client certificate = %v, %v", shown, err)
	}

	insecure, err := open(t, &rest.Config{Host: "https://127.0.0.1", TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil || !insecure.Endpoint().TLS.InsecureSkipVerify {
		t.Errorf("insecure-skip-tls-verify is not honoured (%v)", err)
	}
	public, err := open(t, &rest.Config{Host: "https://127.0.0.1", BearerToken: "t"})
	if err != nil || public.Endpoint().TLS == nil || public.Endpoint().TLS.InsecureSkipVerify || public.Endpoint().TLS.RootCAs != nil {
		t.Errorf("without TLS options an https server must be verified against the system's roots (%v)", err)
	}
	plain, err := open(t, &rest.Config{Host: "http://127.0.0.1"})
	if err != nil || plain.Endpoint().TLS != nil {
		t.Errorf("an http server needs no TLS (%v)", err)
	}

	for name, bad := range map[string]rest.TLSClientConfig{
		"empty ca":        {CAFile: file("empty", nil)},
		"no ca file":      {CAFile: filepath.Join(dir, "none")},
		"ca and insecure": {CAData: ca.pem, Insecure: true},
		"garbage ca":      {CAData: []byte("garbage")},
		"wrong key":       {CertData: certPEM, KeyData: func() []byte { _, k := ca.issue(t, "x", time.Now().Add(time.Hour)); return k }()},
		"key is no key":   {CertData: certPEM, KeyData: []byte("-----BEGIN " + canary)},
	} {
		if _, err := open(t, &rest.Config{Host: "https://127.0.0.1", TLSClientConfig: bad}); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error = %v, want one without the material", name, err)
		}
	}
}

func TestEndpointProxyAndAgent(t *testing.T) {
	via := &url.URL{Scheme: "http", Host: "egress:3128"}
	k, err := open(t, &rest.Config{Host: "https://a.example", Proxy: http.ProxyURL(via), UserAgent: "mine/1"})
	if err != nil {
		t.Fatal(err)
	}
	e := k.Endpoint()
	if got, err := e.Proxy(&http.Request{URL: e.URL}); err != nil || got.String() != via.String() {
		t.Errorf("Proxy = %v, %v, want %v", got, err, via)
	}
	if e.UserAgent != "mine/1" {
		t.Errorf("UserAgent = %q", e.UserAgent)
	}
	k, err = open(t, &rest.Config{Host: "https://a.example"})
	if err != nil {
		t.Fatal(err)
	}
	if e := k.Endpoint(); !strings.HasPrefix(e.UserAgent, "kuberelay/devel (") || e.Proxy == nil {
		t.Errorf("UserAgent = %q, Proxy = %t", e.UserAgent, e.Proxy != nil)
	}
	if got := UserAgent("1.2.3"); !strings.HasPrefix(got, "kuberelay/1.2.3 (") || !strings.Contains(got, "/") {
		t.Errorf("UserAgent = %q", got)
	}
	broken := func(*http.Request) (*url.URL, error) { return nil, fmt.Errorf("bad proxy") }
	if _, err := open(t, &rest.Config{Host: "https://a.example", Proxy: broken}); err == nil || !strings.Contains(err.Error(), "egress proxy") {
		t.Errorf("error = %v, want the egress proxy named", err)
	}
}
