package proxy

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/kuberelay/kuberelay/auth"
)

// prepare fills the upstream request for one attempt.
func (x *exchange) prepare(u *Upstream) {
	if x.header == nil || x.scheme != u.URL.Scheme {
		x.rebuild(u.URL.Scheme)
	}
	target := x.escaped
	if x.h.o.AppendServerPath || x.caller != nil { // kubectl proxy's rule is for single listeners
		target, x.serverPath = u.path+target, u.path
	}
	if x.r.URL.RawQuery != "" || x.r.URL.ForceQuery {
		target += "?" + x.r.URL.RawQuery
	}
	x.request.Method = x.r.Method
	x.request.Target = target
	x.request.Host = u.URL.Host
	x.request.Header = x.header
	x.request.HeaderTimeout = 0
	if x.longRunning {
		x.request.HeaderTimeout = -1
	}
	if !x.upgrade {
		x.request.Interim = x.interim
	}
	if x.body != nil {
		x.request.Body = x.body.reader()
		x.request.ContentLength = x.r.ContentLength
	}
}

// rebuild makes the header that goes upstream.
func (x *exchange) rebuild(scheme string) {
	x.header = make(http.Header, len(x.r.Header)+4)
	x.scheme = scheme
	if x.caller != nil {
		x.rebuildShared(scheme)
		return
	}
	x.injected = auth.Rebuild(x.header, x.r.Header, x.lease, auth.RebuildOptions{
		PeerIP:           peerIP(x.r),
		Upgrade:          x.upgrade,
		DefaultUserAgent: x.cluster.UserAgent,
		SchemeHTTP:       scheme == "http",
	})
	x.header[auditIDHeader] = []string{x.auditID}
	if x.upgrade { // of several offers, the one that was checked
		x.header["Upgrade"] = []string{upgradeProtocol(x.r)}
	}
}

// rebuildShared makes the header that goes upstream for a shared listener's
// client.
func (x *exchange) rebuildShared(scheme string) {
	o := auth.SharedOptions{
		As:               x.caller.As,
		PeerIP:           peerIP(x.r),
		DefaultUserAgent: x.cluster.UserAgent,
		SchemeHTTP:       scheme == "http",
	}
	if x.upgrade {
		o.Upgrade = upgradeProtocol(x.r)
	}
	auth.RebuildShared(x.header, x.r.Header, x.lease, o)
	x.header[auditIDHeader] = []string{x.auditID}
	x.injected = true
}

// payloadSize is the largest body that is read before the first attempt, so
// that head and body go out in one write.
const payloadSize = 16 << 10

// readBody reads a small body whole and prepares a larger one for replay. It
// reports false when the client broke off.
func (x *exchange) readBody() bool {
	if x.r.Body == nil || x.r.Body == http.NoBody || x.r.ContentLength == 0 {
		return true
	}
	if n := x.r.ContentLength; n > 0 && n <= payloadSize {
		payload := make([]byte, n)
		if _, err := io.ReadFull(x.r.Body, payload); err != nil {
			if ended := endedError(x.r.Context()); ended != nil {
				x.fail(answerEnded(ended), ended)
				return false
			}
			x.fail(answerBadRequest("the request's body could not be read: "+err.Error()), err)
			return false
		}
		x.request.Payload = payload
		return true
	}
	x.body = newReplayBody(x.r.Body, x.cluster.Retry.MaxBodyBytes)
	// An answer may come before the body's end (413, 401): it must not wait
	// until the server has read that. On error the connection is not HTTP/1.
	_ = http.NewResponseController(x.w).EnableFullDuplex()
	return true
}

func (x *exchange) rewindable() bool { return x.body == nil || x.body.rewindable() }

// watchURL is the request's URL at the upstream, for net/http.
func (x *exchange) watchURL(u *Upstream) *url.URL {
	target, query, force := strings.Cut(x.request.Target, "?")
	decoded, err := url.PathUnescape(target)
	if err != nil {
		decoded = target
	}
	return &url.URL{
		Scheme: u.URL.Scheme, Host: u.URL.Host,
		Path: decoded, RawPath: target, RawQuery: query, ForceQuery: force && query == "",
	}
}

// upgradeProtocol returns the protocol to which the client asks to switch, if
// it is one that the Kubernetes API uses: websocket or SPDY/3.1. An offer of
// anything else, as curl makes with h2c, is none, and neither is one in
// HTTP/1.0 (RFC 9110, section 7.8).
func upgradeProtocol(r *http.Request) string {
	if len(r.Header["Upgrade"]) == 0 || !r.ProtoAtLeast(1, 1) || !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	for _, offers := range r.Header["Upgrade"] {
		for offer := range strings.SplitSeq(offers, ",") {
			switch offer = strings.TrimSpace(offer); {
			case strings.EqualFold(offer, "websocket"), strings.EqualFold(offer, "SPDY/3.1"):
				return offer
			}
		}
	}
	return ""
}
