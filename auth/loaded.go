package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
)

// maxPEMFile bounds what is read of a certificate, key or CA file.
const maxPEMFile = 8 << 20

// loaded is one reading of the kubeconfig and of the files that it names.
type loaded struct {
	files         []string  // the files that it names
	endpoint      *Endpoint // without a plugin's certificate
	connection    identity  // of what the endpoint is made of
	certificate   *tls.Certificate
	source        *source
	impersonation impersonation
	who           identity // of the impersonation
}

// loadKubeconfig reads everything anew and checks all of it, so that what it
// returns can be used as a whole or not at all. It contacts nobody and runs no
// plugin.
func loadKubeconfig(o *KubeconfigOptions) (*loaded, error) {
	config, err := o.Load()
	if err != nil {
		return nil, err
	}
	c := rest.CopyConfig(config)
	l := &loaded{}
	for _, path := range []string{c.CAFile, c.CertFile, c.KeyFile, c.BearerTokenFile} {
		if path != "" {
			l.files = append(l.files, path)
		}
	}
	if c.CAData, err = inline("certificate authority", c.CAData, c.CAFile); err != nil {
		return nil, err
	}
	c.CAFile = ""
	if l.certificate, err = clientCertificate(c); err != nil {
		return nil, err
	}
	if l.endpoint, err = newEndpoint(c, l.certificate, o.UserAgent); err != nil {
		return nil, err
	}
	server, err := serverURL(c)
	if err != nil {
		return nil, err
	}
	if l.source, err = newSource(c, server, l.certificate, execSource); err != nil {
		return nil, err
	}
	if l.impersonation, err = newImpersonation(c.Impersonate); err != nil {
		return nil, err
	}
	l.who = l.impersonation.identity()
	l.connection, err = connectionIdentity(c, l)
	return l, err
}

// clientCertificate reads the user's certificate and key, nil without.
func clientCertificate(c *rest.Config) (*tls.Certificate, error) {
	hasCertificate := len(c.CertData) > 0 || c.CertFile != ""
	hasKey := len(c.KeyData) > 0 || c.KeyFile != ""
	if !hasCertificate || !hasKey {
		return nil, nil // as in client-go; clientcmd has refused it before
	}
	certPEM, err := inline("client certificate", c.CertData, c.CertFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := inline("client key", c.KeyData, c.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := keyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("client certificate of the kubeconfig: %w", err)
	}
	return pair, nil
}

// errEmptyFile is of a file that is being written.
var errEmptyFile = errors.New("the file is empty")

// inline returns data, or what is in file. An empty file is an error: it is
// being written, and an empty CA would otherwise mean the system's.
func inline(what string, data []byte, file string) ([]byte, error) {
	if len(data) > 0 || file == "" {
		return data, nil
	}
	data, err := readBounded(file, maxPEMFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("%s %s: %w", what, file, errEmptyFile)
	}
	return data, nil
}

// connectionIdentity covers everything that a connection depends on.
func connectionIdentity(c *rest.Config, l *loaded) (identity, error) {
	via, err := l.endpoint.Proxy(&http.Request{URL: l.endpoint.URL})
	if err != nil {
		return identity{}, fmt.Errorf("egress proxy of the kubeconfig or environment: %w", err)
	}
	proxy := ""
	if via != nil {
		proxy = via.String()
	}
	return identify(l.endpoint.URL.String(), string(c.CAData), c.ServerName, strconv.FormatBool(c.Insecure),
		strings.Join(c.NextProtos, ","), proxy, l.endpoint.UserAgent,
		certificateDER(l.certificate)), nil
}

// with returns a copy of e of that generation, which presents certificate if
// that is not nil.
func (e *Endpoint) with(generation uint64, certificate *tls.Certificate) *Endpoint {
	next := *e
	next.Generation = generation
	if e.TLS != nil && certificate != nil {
		next.TLS = e.TLS.Clone()
		next.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate, nil
		}
	}
	return &next
}
