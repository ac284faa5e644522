package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"strings"

	"github.com/kuberelay/kuberelay/auth"
)

// UpstreamOptions say how one API server is reached.
type UpstreamOptions struct {
	// Cluster is the name of the server's cluster.
	Cluster string
	// ID names the upstream in logs, metrics and the balancer: host:port.
	ID string
	// URL is the server's base URL. Its path is put before that of requests of
	// shared listeners, and of single ones with [Options.AppendServerPath].
	URL *url.URL
	// Generation is that of the connection parameters. Only a lease of the same
	// [auth.Lease.EndpointGeneration] is sent over the cluster's own connections.
	Generation uint64
	// TLS is the client configuration, with the server name and the client
	// certificate of the cluster's own credential; nil for an http:// server.
	TLS *tls.Config
	// Dial opens TCP connections, through a proxy where one is configured.
	// Required.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Upstream is one API server and the connections to it. Those of the cluster's
// own credential, of credentials without a client certificate, and of each
// client certificate are apart from each other.
type Upstream struct {
	Cluster string
	ID      string
	URL     *url.URL

	generation uint64
	path       string // of URL, without a trailing slash

	own       *connections // with the certificate of the cluster's own credential, if it has one
	plain     *connections // without a certificate
	certified certified
	open      func(*tls.Certificate) *connections
}

// NewUpstream returns an upstream without connections: requests open them.
func NewUpstream(o UpstreamOptions) *Upstream {
	open := func(c *tls.Certificate) *connections { return newConnections(&o, withCertificate(o.TLS, c)) }
	return &Upstream{
		Cluster:    o.Cluster,
		ID:         o.ID,
		URL:        o.URL,
		generation: o.Generation,
		path:       strings.TrimRight(o.URL.EscapedPath(), "/"),
		own:        newConnections(&o, o.TLS),
		plain:      open(nil),
		open:       open,
	}
}

// withCertificate is base with the given client certificate in place of its
// own. Without base, for an http:// server, there is nothing to present it to.
func withCertificate(base *tls.Config, certificate *tls.Certificate) *tls.Config {
	if base == nil {
		return nil
	}
	t := base.Clone()
	t.Certificates, t.GetClientCertificate = nil, nil
	if certificate != nil {
		// A callback: Certificates would be withheld from a server whose list
		// of accepted authorities does not name the issuer.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return t
}

// connectionsFor are those over which a configured credential's lease is sent.
func (u *Upstream) connectionsFor(l *auth.Lease) *connections {
	if l.TLSIdentity().IsZero() {
		return u.plain
	}
	return u.certified.of(l, u.open)
}

// each calls do with every set of connections; for closing see certified.each.
func (u *Upstream) each(closing bool, do func(*connections)) {
	do(u.own)
	do(u.plain)
	u.certified.each(closing, do)
}

// CloseIdle closes the connections that carry no request.
func (u *Upstream) CloseIdle() { u.each(false, (*connections).closeIdle) }

// CloseConnections cuts all HTTP/1.1 connections and those of HTTP/2 that
// carry nothing; what they do carry, [Registry.Cut] ends.
func (u *Upstream) CloseConnections() { u.each(false, (*connections).closeConnections) }

// Close retires the upstream: what is in flight goes on to its end.
func (u *Upstream) Close() { u.each(true, (*connections).close) }

// HostPort returns the URL's host with its port, or with the scheme's own if it
// has none: 80 for http, else 443.
func HostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
		if u.Scheme == "http" {
			port = "80"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
