package h1

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Defaults of Options. IdleTimeout stays well below the 90 s after which a
// kube-apiserver (and any Go server) closes idle connections, so the race
// between its close and our next request is rare (golang/go#22158).
const (
	DefaultDialTimeout      = 2 * time.Second
	DefaultHandshakeTimeout = 3 * time.Second
	DefaultHeaderTimeout    = 65 * time.Second // above the API server's --request-timeout of 60 s
	DefaultIdleTimeout      = 50 * time.Second
	DefaultMaxIdle          = 256
	DefaultMaxHeaderBytes   = 1 << 20
)

// Options describe one upstream and how to reach it. A zero duration or
// number means its default.
type Options struct {
	// Address is the upstream's host:port. IPv6 hosts in brackets.
	Address string
	// TLS is the client configuration; nil means plain TCP. It is cloned.
	// ServerName defaults to Address's host, a session cache is added when
	// there is none, and ALPN offers http/1.1 alone.
	TLS *tls.Config
	// Dial opens the connection below TLS. Default: a net.Dialer with TCP
	// keep-alive 10 s/5 s/3 and, on Linux, TCP_USER_TIMEOUT 15 s. See
	// ProxyDial for the ways through a proxy.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// DialTimeout bounds Dial. Default 2 s.
	DialTimeout time.Duration
	// HandshakeTimeout bounds the TLS handshake. Default 3 s.
	HandshakeTimeout time.Duration
	// HeaderTimeout bounds the wait for a response's head, counted from
	// the end of the request, and each write's stall. Default 65 s;
	// negative: none. Request.HeaderTimeout overrides it.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection waits in the pool. Default 50 s.
	IdleTimeout time.Duration
	// MaxIdle bounds the pool. Default 256; negative: keep none.
	MaxIdle int
	// MaxHeaderBytes bounds a response's head, interim responses included.
	// Default 1 MiB.
	MaxHeaderBytes int
}

func (o Options) withDefaults() Options {
	setDuration := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	setDuration(&o.DialTimeout, DefaultDialTimeout)
	setDuration(&o.HandshakeTimeout, DefaultHandshakeTimeout)
	setDuration(&o.HeaderTimeout, DefaultHeaderTimeout)
	setDuration(&o.IdleTimeout, DefaultIdleTimeout)
	if o.MaxIdle == 0 {
		o.MaxIdle = DefaultMaxIdle
	}
	if o.MaxHeaderBytes <= 0 {
		o.MaxHeaderBytes = DefaultMaxHeaderBytes
	}
	if o.Dial == nil {
		o.Dial = NewDialer().DialContext
	}
	if o.TLS != nil {
		o.TLS = o.TLS.Clone()
		o.TLS.NextProtos = []string{"http/1.1"}
		if o.TLS.ClientSessionCache == nil {
			o.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
		if o.TLS.ServerName == "" {
			if host, _, err := net.SplitHostPort(o.Address); err == nil {
				o.TLS.ServerName = host
			}
		}
	}
	return o
}
