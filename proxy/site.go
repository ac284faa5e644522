package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// site keeps browsers out: what a page makes one send names the page's origin,
// or, after DNS rebinding, a host that is not ours. No browser is a client of
// a shared listener.
func (v *visit) site() bool {
	r := v.r
	switch {
	case !v.hostAllowed():
		v.deny(deniedHost, answer{
			code: http.StatusMisdirectedRequest, reason: "MisdirectedRequest", cause: "Host",
			message: "this listener does not answer to the host name of the request; the configuration's hosts names those that it does answer to",
		})
		return false
	case len(r.Header["Origin"]) > 0, slices.ContainsFunc(r.Header["Sec-Fetch-Site"], func(site string) bool { return site != "none" }):
		v.deny(deniedCrossSite, answerForbidden("CrossSite", "the request was made by a web page: its Origin or Sec-Fetch-Site header says so"))
		return false
	}
	return true
}

// hostAllowed compares the request's host, in an absolute target or the Host
// header, with the listener's. An address is also right where it is the one
// that the connection came to: no name can be rebound to that.
func (v *visit) hostAllowed() bool {
	hosts := v.h.o.Shared.Hosts
	if v.peer.Unix && (hosts == nil || v.r.URL.Path == credentialPath) {
		return true // what no name leads to, none can be rebound to
	}
	host := hostname(v.r.Host)
	if host == "" {
		return false
	}
	if slices.Contains(hosts, host) {
		return true
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	local, ok := v.r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return false
	}
	return local.AddrPort().Addr().Unmap() == address.Unmap()
}

// hostname is the host of a Host header in lower case, without port, brackets
// and a last dot; "" for none, or for what is no host.
func hostname(hostport string) string {
	host := hostport
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !strings.HasSuffix(hostport, "]") {
		port := hostport[i+1:]
		if strings.Trim(port, "0123456789") != "" {
			return ""
		}
		host = hostport[:i]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return ""
		}
	} else if strings.Contains(host, ":") {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// DefaultHosts are the host names of a shared listener that has none
// configured: the host of its address, and the names of this machine to
// itself. A Unix socket has none, and answers to every host.
func DefaultHosts(address string) []string {
	if strings.HasPrefix(address, "unix:") {
		return nil
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if strings.HasPrefix(address, "systemd:") {
		return hosts
	}
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" && !slices.Contains(hosts, strings.ToLower(host)) {
		hosts = append(hosts, strings.ToLower(host))
	}
	return hosts
}

// CleanHosts are configured host names as [SharedOptions] wants them.
func CleanHosts(names []string) []string {
	hosts := make([]string, 0, len(names))
	for _, name := range names {
		hosts = append(hosts, strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), ".")))
	}
	return hosts
}

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
	for _, c := range []byte(location) {
		if c <= ' ' || c == '\\' || c >= 0x7f {
			return "", false
		}
	}
	u, err := url.Parse(location)
	if err != nil || u.Opaque != "" || u.Host == "" && u.Scheme != "" ||
		u.Host != "" && (u.Host != x.request.Host || u.Scheme != "" && u.Scheme != x.scheme) {
		return "", false
	}
	for segment := range strings.SplitSeq(u.EscapedPath(), "/") {
		if strings.Contains(segment, "%") && dotSegment(segment) > 0 {
			return "", false
		}
	}
	to := &url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, Fragment: u.Fragment}
	if strings.HasPrefix(to.Path, "/") {
		base := strings.TrimRight(x.serverPath, "/") + "/"
		rest, below := strings.CutPrefix(to.EscapedPath(), base)
		if !below {
			rest = strings.TrimPrefix(to.EscapedPath(), "/")
		}
		if to, err = url.Parse(x.caller.Prefix + "/" + rest); err != nil {
			return "", false
		}
		to.RawQuery, to.Fragment = u.RawQuery, u.Fragment
	}
	from, err := url.Parse(x.caller.Prefix + x.escaped)
	if err != nil {
		return "", false
	}
	to = from.ResolveReference(to)
	clean, prefix := to.EscapedPath(), x.caller.Prefix
	if !strings.HasPrefix(clean, prefix+"/") || strings.HasPrefix(clean, "//") || prefix == "" && strings.HasPrefix(clean, clustersPrefix) {
		return "", false
	}
	return to.String(), true
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
