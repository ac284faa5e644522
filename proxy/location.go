package proxy

import (
	"net/http"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// keepHere makes sure that an answer leads nowhere else: a Location on the
// server's own origin becomes a path here, at the same cluster, and an answer of
// the API server itself with any other is not passed on. What stands behind
// …/proxy/ may send its clients where it likes; the credential does not go along.
func (x *exchange) keepHere(h http.Header, resp *http.Response) bool {
	beyond := x.target.reachesBeyond()
	if !beyond {
		delete(h, "Refresh") // Location for browsers, which are no clients
	}
	locations := h["Location"]
	if len(locations) == 0 {
		return true
	}
	here, ok := x.here(locations[0])
	switch {
	case ok && len(locations) == 1:
		h["Location"] = []string{here}
	case beyond && len(locations) == 1 && strings.Contains(locations[0], "://"): // to somebody else
	default:
		return x.astray(h, resp)
	}
	return true
}

// here is a Location of the upstream's as a path at this listener and below the
// same cluster. It is false for what leads elsewhere, or what some clients read
// so.
func (x *exchange) here(location string) (path string, ok bool) {
	u, ok := parseLocation(location)
	if !ok || !sameOrigin(u, x.scheme, x.request.Host) {
		return "", false
	}
	to, err := localise(u, x.serverPath, x.caller.Prefix)
	if err != nil {
		return "", false
	}
	from, err := url.Parse(x.caller.Prefix + x.escaped)
	if err != nil {
		return "", false
	}
	to = from.ResolveReference(to)
	if !staysBelow(x.caller.Prefix, to.EscapedPath()) {
		return "", false
	}
	return to.String(), true
}

// parseLocation reads a Location that all clients read alike. It is false for
// one with a byte that some of them drop or replace, with a dot segment that is
// percent-encoded, which some take for one, and for a scheme without a host.
func parseLocation(location string) (u *url.URL, ok bool) {
	for _, c := range []byte(location) {
		if c <= ' ' || c == '\\' || c >= 0x7f {
			return nil, false
		}
	}
	u, err := url.Parse(location)
	if err != nil || u.Opaque != "" || u.Scheme != "" && u.Host == "" {
		return nil, false
	}
	for segment := range strings.SplitSeq(u.EscapedPath(), "/") {
		if strings.Contains(segment, "%") && dotSegment(segment) > 0 {
			return nil, false
		}
	}
	return u, true
}

// sameOrigin reports whether a Location stays at the server of the given
// scheme and host: one without a host does.
func sameOrigin(u *url.URL, scheme, host string) bool {
	return u.Host == "" || u.Host == host && (u.Scheme == "" || u.Scheme == scheme)
}

// localise is a Location at the API server without its origin. An absolute path
// is moved from below the path of the server's URL to below prefix; a relative
// one stays as it is.
func localise(u *url.URL, serverPath, prefix string) (*url.URL, error) {
	to := &url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, Fragment: u.Fragment}
	if u.Host != "" && u.Path == "" { // the origin alone is its root (RFC 9110, section 4.2.3)
		to.Path = "/"
	}
	if !strings.HasPrefix(to.Path, "/") {
		return to, nil
	}
	base := strings.TrimRight(serverPath, "/") + "/"
	rest, below := strings.CutPrefix(to.EscapedPath(), base)
	if !below {
		rest = strings.TrimPrefix(to.EscapedPath(), "/")
	}
	to, err := url.Parse(prefix + "/" + rest)
	if err != nil {
		return nil, err
	}
	to.RawQuery, to.Fragment = u.RawQuery, u.Fragment
	return to, nil
}

// staysBelow reports whether an escaped path without dot segments is one of the
// cluster at prefix, and not one that a client reads as another host.
func staysBelow(prefix, escaped string) bool {
	if !strings.HasPrefix(escaped, prefix+"/") || strings.HasPrefix(escaped, "//") {
		return false
	}
	return prefix != "" || !strings.HasPrefix(escaped, clustersPrefix)
}

// astray answers in place of a redirect to another server.
func (x *exchange) astray(h http.Header, resp *http.Response) bool {
	clear(h)
	if x.upgrade {
		h.Set("Connection", "close") // see forwardUpgrade
	}
	discard(resp)
	x.fail(answer{
		code: http.StatusBadGateway, reason: metav1.StatusReasonInternalError, cause: "UpstreamRedirect",
		message: "the API server redirects to another server, which is not passed on",
	}, nil)
	return false
}
