package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kuberelay/kuberelay/internal/h1"
)

// Pings find a watch connection on which the peer has gone silent: 5 s
// without a frame, then 5 s without an answer.
const (
	watchPingAfter   = 5 * time.Second
	watchPingTimeout = 5 * time.Second
	watchIdle        = 50 * time.Second // below the API server's 90 s
)

// UpstreamOptions say how one API server is reached.
type UpstreamOptions struct {
	// ID names the upstream in logs, metrics and the balancer: host:port.
	ID string
	// URL is the server's base URL; its path is used where a listener
	// appends the server's path.
	URL *url.URL
	// Generation is of the connection parameters, as a lease has it: only a
	// lease of the same generation is sent here.
	Generation uint64
	// TLS is the client configuration, with the server name and the client
	// certificate; nil for an http:// server.
	TLS *tls.Config
	// Dial opens TCP connections, through a proxy where one is configured.
	// Required.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Upstream is one API server and the connections to it: HTTP/1.1 for short
// requests and upgrades, HTTP/2 for watches, which share a few connections.
type Upstream struct {
	ID  string
	URL *url.URL

	generation uint64

	path  string // of URL, without a trailing slash
	http1 *h1.Transport
	http2 *http.Transport
}

// NewUpstream opens nothing yet.
func NewUpstream(o UpstreamOptions) *Upstream {
	watches := &connector{dial: o.Dial}
	if o.TLS != nil {
		watches.tls = o.TLS.Clone()
		watches.tls.NextProtos = []string{"h2", "http/1.1"}
		if watches.tls.ServerName == "" {
			watches.tls.ServerName = o.URL.Hostname()
		}
	}
	return &Upstream{
		ID:         o.ID,
		URL:        o.URL,
		generation: o.Generation,
		path:       strings.TrimRight(o.URL.EscapedPath(), "/"),
		http1: h1.New(h1.Options{
			Address: HostPort(o.URL),
			TLS:     o.TLS,
			Dial:    o.Dial,
		}),
		http2: &http.Transport{
			DialContext:        watches.plain,
			DialTLSContext:     watches.secure,
			IdleConnTimeout:    watchIdle,
			DisableCompression: true,
			ForceAttemptHTTP2:  true,
			HTTP2:              &http.HTTP2Config{SendPingTimeout: watchPingAfter, PingTimeout: watchPingTimeout},
		},
	}
}

// CloseIdle closes the connections that carry no request.
func (u *Upstream) CloseIdle() {
	u.http1.CloseIdle()
	u.http2.CloseIdleConnections()
}

// CloseConnections cuts all HTTP/1.1 connections and those of HTTP/2 that
// carry nothing; what they do carry, [Registry.Cut] ends.
func (u *Upstream) CloseConnections() {
	u.http1.CloseConnections()
	u.http2.CloseIdleConnections()
}

// Close retires the upstream: what is in flight goes on to its end.
func (u *Upstream) Close() {
	u.http1.Close()
	u.http2.CloseIdleConnections()
}

// HostPort is the URL's host with its port, or the scheme's own.
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
