package health

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const maxProbeBody = 64 << 10

// HTTPProberOptions say how an [HTTPProber] reaches API servers. Zero fields
// are valid.
type HTTPProberOptions struct {
	// TLS returns the configuration for a target. It is called before each
	// probe, so that rotated certificates count. While nothing has changed it
	// should return the same pointer: a new one closes the kept connection. The
	// configuration is cloned, never changed. Default: the system's roots.
	TLS func(Target) *tls.Config

	// Dial opens TCP connections; its ctx ends with the probe. Default: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy is http.Transport.Proxy: the egress proxy for a request. Default: none.
	Proxy func(*http.Request) (*url.URL, error)

	// Authorize sets the headers of the credential for a target. If it fails,
	// the probe is sent without them: a broken exec plugin says nothing about
	// the API server. Default: no headers (a client certificate is in TLS).
	Authorize func(ctx context.Context, t Target, h http.Header) error

	// Reauthorize, if set, is called once after a 401 to a probe with a
	// credential: it sets newer headers, or fails when nothing newer can be had.
	Reauthorize func(ctx context.Context, t Target, h http.Header) error

	// UserAgent is the header's value; default "kuberelay-health".
	UserAgent string
}

// HTTPProber is the [Prober] of API servers: HTTP/1.1 over connections of its
// own, which it keeps between the probes of a target.
type HTTPProber struct {
	options HTTPProberOptions

	mu         sync.Mutex
	transports map[string]*transport // by target ID; guarded by mu
}

// NewHTTPProber returns a prober without connections.
func NewHTTPProber(opts HTTPProberOptions) *HTTPProber {
	if opts.UserAgent == "" {
		opts.UserAgent = "kuberelay-health"
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	return &HTTPProber{options: opts, transports: map[string]*transport{}}
}

// Probe implements [Prober].
func (p *HTTPProber) Probe(ctx context.Context, t Target, path string, fresh bool) Result {
	a := p.get(ctx, t, path, "*/*", maxProbeBody, fresh)
	if a.err != nil {
		kind, reason := classify(a.err)
		if kind == Timeout {
			reason = a.phase.timeout(path)
		}
		return Result{Kind: kind, Err: &probeError{reason, a.err}, CredentialErr: a.credentialErr}
	}
	r := interpret(path, a.code, a.body, a.credential)
	r.CredentialErr = a.credentialErr
	return r
}

// Forget closes the target's kept connection.
func (p *HTTPProber) Forget(id string) {
	p.mu.Lock()
	tr := p.transports[id]
	delete(p.transports, id)
	p.mu.Unlock()
	if tr != nil {
		tr.CloseIdleConnections()
	}
}

// reply is an answer, or what prevented one.
type reply struct {
	code          int
	body          []byte // cut at the limit
	credential    bool   // the request carried one
	credentialErr error
	phase         phase
	err           error
}

// get sends a request, and again after a 401 if there is a newer credential.
func (p *HTTPProber) get(ctx context.Context, t Target, path, accept string, limit int64, fresh bool) reply {
	tlsConfig, tr := p.transport(t)
	if fresh {
		tr.CloseIdleConnections()
	}
	defer p.retire(t.ID, tr)

	header := http.Header{"User-Agent": {p.options.UserAgent}, "Accept": {accept}}
	credential, credentialErr := p.authorize(ctx, t, p.options.Authorize, header)
	if credentialErr == nil && tlsConfig != nil {
		credential = credential || len(tlsConfig.Certificates) > 0 || tlsConfig.GetClientCertificate != nil
	}
	a := tr.roundTrip(ctx, t.URL, path, header, limit)
	if a.code == http.StatusUnauthorized && credential && p.options.Reauthorize != nil {
		switch _, err := p.authorize(ctx, t, p.options.Reauthorize, header); {
		case err == nil:
			a = tr.roundTrip(ctx, t.URL, path, header, limit)
		case errors.Is(err, context.DeadlineExceeded): // it is still being fetched
			credential, credentialErr = false, err
		}
	}
	a.credential, a.credentialErr = credential, credentialErr
	return a
}

// authorize sets h to a probe's own headers and the credential's, and reports
// whether there are any of the latter. It takes at most half of the probe's time,
// so that a slow exec plugin leaves enough for a probe without the credential.
func (p *HTTPProber) authorize(ctx context.Context, t Target, set func(context.Context, Target, http.Header) error, h http.Header) (bool, error) {
	if set == nil {
		return false, nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	// No part of a credential may go out if setting it failed halfway.
	given := http.Header{}
	if err := set(ctx, t, given); err != nil {
		return false, err
	}
	maps.DeleteFunc(h, func(k string, _ []string) bool { return k != "User-Agent" && k != "Accept" })
	maps.Copy(h, given)
	return len(given) > 0, nil
}

// transport returns the target's transport, rebuilt if the TLS configuration was
// replaced.
func (p *HTTPProber) transport(t Target) (*tls.Config, *transport) {
	var source *tls.Config
	if p.options.TLS != nil {
		source = p.options.TLS(t)
	}
	p.mu.Lock()
	old := p.transports[t.ID]
	if old != nil && old.source == source {
		p.mu.Unlock()
		return source, old
	}
	tr := p.newTransport(source)
	p.transports[t.ID] = tr
	p.mu.Unlock()
	if old != nil {
		old.CloseIdleConnections()
	}
	return source, tr
}

// retire closes the connections that were given back to a transport after it was
// replaced or forgotten.
func (p *HTTPProber) retire(id string, tr *transport) {
	p.mu.Lock()
	current := p.transports[id] == tr
	p.mu.Unlock()
	if !current {
		tr.CloseIdleConnections()
	}
}
