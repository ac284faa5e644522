package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
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
// header, with the listener's. The address that the connection came to is right
// as well: it is not a name that could be rebound.
func (v *visit) hostAllowed() bool {
	hosts := v.h.o.Shared.Hosts
	if v.peer.Unix && (hosts == nil || v.r.URL.Path == CredentialPath) {
		return true // no name leads to a Unix socket, so none can be rebound to it
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

// DefaultHosts returns the host names of a shared listener that has none
// configured: the host of its address, and the names of this machine to
// itself. For a Unix socket, which answers to every host, it is nil.
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

// CleanHosts returns configured host names in the form of [SharedOptions]: in
// lower case, without brackets or a final dot.
func CleanHosts(names []string) []string {
	hosts := make([]string, 0, len(names))
	for _, name := range names {
		hosts = append(hosts, strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), ".")))
	}
	return hosts
}
