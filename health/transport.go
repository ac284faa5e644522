package health

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxProbeHeader = 64 << 10
	// The API server closes idle connections after 90s.
	probeIdleTimeout = 45 * time.Second
	// tunnelTimeout bounds a handshake through an egress proxy, which alone
	// http.Transport continues after the probe's end.
	tunnelTimeout = 5 * time.Second
)

// transport is what is kept for one target between probes.
type transport struct {
	*http.Transport
	source *tls.Config // what it was built from
}

func (p *HTTPProber) newTransport(source *tls.Config) *transport {
	config := &tls.Config{}
	if source != nil {
		config = source.Clone()
	}
	// A resumed session would not show the server's current certificate.
	config.ClientSessionCache = nil
	config.NextProtos = []string{"http/1.1"}

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &transport{source: source, Transport: &http.Transport{
		Protocols:              protocols,
		Proxy:                  p.options.Proxy,
		TLSClientConfig:        config,
		DisableCompression:     true,
		IdleConnTimeout:        probeIdleTimeout,
		TLSHandshakeTimeout:    tunnelTimeout,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: maxProbeHeader,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, ph := probeContext(ctx)
			ph.enter(phaseDial)
			conn, err := p.options.Dial(ctx, network, addr)
			if err == nil {
				ph.enter(phaseAnswer)
			}
			return conn, err
		},
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return p.dialTLS(ctx, network, addr, config)
		},
	}}
}

// dialTLS connects within the probe's own time.
func (p *HTTPProber) dialTLS(ctx context.Context, network, addr string, config *tls.Config) (net.Conn, error) {
	ctx, ph := probeContext(ctx)
	ph.enter(phaseDial)
	conn, err := p.options.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	ph.enter(phaseHandshake)
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		config = config.Clone()
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	ph.enter(phaseAnswer)
	return secure, nil
}

func (tr *transport) roundTrip(ctx context.Context, base *url.URL, path string, header http.Header, limit int64) reply {
	var ph phaseMark
	req := (&http.Request{Method: http.MethodGet, URL: endpoint(base, path), Header: header}).
		WithContext(withProbe(ctx, &ph))
	resp, err := tr.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return reply{err: err, phase: ph.load()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	// At the deadline the transport closes the connection, and the server may
	// respond to the close_notify by ending its answer properly.
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return reply{err: err, phase: phaseBody}
	}
	return reply{code: resp.StatusCode, body: body}
}

// endpoint appends path, which may hold a query, to the server's own path.
func endpoint(base *url.URL, path string) *url.URL {
	path, query, _ := strings.Cut(path, "?")
	u := url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path, RawPath: base.RawPath}
	if u.Path == "" {
		u.Path = "/" // JoinPath keeps a relative path relative
	}
	u = *u.JoinPath(path)
	u.RawQuery = query
	return &u
}

// phase is how far a request got.
type phase int32

const (
	phaseIdle phase = iota
	phaseDial
	phaseHandshake
	phaseAnswer
	phaseBody
)

// timeout describes a deadline that passed in this phase.
func (p phase) timeout(path string) string {
	switch p {
	case phaseDial:
		return "no TCP connection in time"
	case phaseHandshake:
		return "accepts TCP, but the TLS handshake does not end in time: the process may hang"
	case phaseBody:
		return "answer to " + path + " not complete in time"
	}
	return "no answer to " + path + " in time"
}

type phaseMark struct{ atomic.Int32 }

func (m *phaseMark) enter(p phase) {
	if m != nil {
		m.Store(int32(p))
	}
}
func (m *phaseMark) load() phase { return phase(m.Load()) }

// http.Transport dials in a context that is detached from the request's
// cancellation, so that a later request may use the connection. Here a dial to a
// black hole would outlive its probe, so the probe's own context travels along as
// a value.
type probeKey struct{}

type probeValue struct {
	ctx  context.Context
	mark *phaseMark
}

func withProbe(ctx context.Context, m *phaseMark) context.Context {
	return context.WithValue(ctx, probeKey{}, probeValue{ctx, m})
}

func probeContext(ctx context.Context) (context.Context, *phaseMark) {
	if v, ok := ctx.Value(probeKey{}).(probeValue); ok {
		return v.ctx, v.mark
	}
	return ctx, nil
}
