package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// Endpoint is what connections to the cluster are made of: an immutable
// snapshot of the kubeconfig's cluster and of the user's client certificate.
type Endpoint struct {
	// Generation grows with every change of the other fields, from 1.
	Generation uint64
	// URL is the server of the kubeconfig: scheme http or https, host, and the
	// path if it has one; never user info, query or fragment.
	URL *url.URL
	// TLS is nil for an http URL. It verifies the server as the kubeconfig
	// says, and presents the user's client certificate if there is one.
	// ServerName is empty unless the kubeconfig has a tls-server-name. It is
	// shared: Clone before changing.
	TLS *tls.Config
	// Authority are the certificates, in PEM, that the server is verified with;
	// empty: the system's. It is shared, and not to be changed.
	Authority []byte
	// Proxy is the kubeconfig's proxy-url, else HTTPS_PROXY and NO_PROXY of the
	// environment, with CIDRs in NO_PROXY. It returns nil for a direct
	// connection, and is never nil itself.
	Proxy func(*http.Request) (*url.URL, error)
	// UserAgent is for requests that have none.
	UserAgent string
}

// UserAgent returns "kuberelay/VERSION (OS/ARCH)", in the form of
// client-go's rest.DefaultKubernetesUserAgent.
func UserAgent(version string) string {
	if version == "" {
		version = "devel"
	}
	return fmt.Sprintf("kuberelay/%s (%s/%s)", version, runtime.GOOS, runtime.GOARCH)
}

// newEndpoint builds the endpoint of c. Only c's connection fields are used:
// its credentials, wrappers and dialer are not. certificate, when not nil, is
// presented to a server that asks for one.
func newEndpoint(c *rest.Config, certificate *tls.Certificate, userAgent string) (*Endpoint, error) {
	u, err := serverURL(c)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		URL:       &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath},
		Authority: c.CAData,
		Proxy:     c.Proxy,
		UserAgent: c.UserAgent,
	}
	if e.Proxy == nil {
		e.Proxy = utilnet.NewProxierWithNoProxyCIDR(http.ProxyFromEnvironment)
	}
	if e.UserAgent == "" {
		e.UserAgent = userAgent
	}
	if u.Scheme == "https" {
		if e.TLS, err = clientTLS(c, certificate); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// clientTLS is client-go's TLS configuration without its own handling of client
// certificates: that would run an exec plugin inside a handshake, and poll
// certificate files only every five minutes.
func clientTLS(c *rest.Config, certificate *tls.Certificate) (*tls.Config, error) {
	verify := rest.TLSClientConfig{
		Insecure:   c.Insecure,
		ServerName: c.ServerName,
		CAFile:     c.CAFile,
		CAData:     c.CAData,
		NextProtos: c.NextProtos,
	}
	t, err := rest.TLSConfigFor(&rest.Config{Host: c.Host, TLSClientConfig: verify})
	if err != nil {
		return nil, fmt.Errorf("TLS options of the kubeconfig: %w", err)
	}
	if t == nil {
		t = &tls.Config{MinVersion: tls.VersionTLS12} // a public CA: the system's roots
	}
	if certificate != nil {
		// A callback, as in client-go: Certificates would be withheld from a
		// server whose list of accepted CAs does not name the issuer.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate, nil
		}
	}
	return t, nil
}

// serverURL parses the server of c. Like kubectl proxy it refuses
// "127.0.0.1:18080" with net/url's words; for a host that net/url takes for
// something else, the scheme is rest.DefaultServerURL's: https with TLS options,
// else http. No error shows user info.
func serverURL(c *rest.Config) (*url.URL, error) {
	if c.Host != "" {
		if _, err := url.Parse(c.Host); err != nil {
			return nil, badServer(c.Host, err)
		}
	}
	u, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, badServer(c.Host, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, badServer(c.Host, fmt.Errorf("scheme %q is neither http nor https", u.Scheme))
	}
	if u.Hostname() == "" {
		return nil, badServer(c.Host, errors.New("the host is missing"))
	}
	return u, nil
}

// ServerURLError says that the kubeconfig's server cannot be parsed. Its Err is
// net/url's, which kubectl prints as "Unable to connect to the server: ERR".
type ServerURLError struct {
	Server string // as written, "[redacted]" when it may hold a password
	Err    error
}

func (e *ServerURLError) Error() string {
	return fmt.Sprintf("server URL %q of the kubeconfig: %v", e.Server, e.Err)
}

func (e *ServerURLError) Unwrap() error { return e.Err }

func badServer(server string, err error) error {
	for i := range len(server) {
		if server[i] == '@' { // user info, which net/url quotes in its errors
			return &ServerURLError{Server: redacted, Err: errors.New("it cannot be parsed, and is not shown since it may hold a password")}
		}
	}
	if parse := (*url.Error)(nil); errors.As(err, &parse) {
		err = parse.Err
	}
	return &ServerURLError{Server: server, Err: err}
}
