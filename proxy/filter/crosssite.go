package filter

import (
	"net/http"
	"strings"
)

// CrossSite reports whether a browser made the request on behalf of a page
// that this listener did not serve; such a request is to be refused, since it
// would act with the user's credential. host is the request's own Host.
//
// Sec-Fetch-Site (W3C Fetch Metadata), which no page can forge, decides where
// it is sent: same-origin passes, same-site and cross-site do not, and neither
// does a word that this program does not know. That includes a link on another
// site: a GET can reach a service behind …/proxy/ that acts upon it. An
// address that the user typed (none) passes.
//
// Otherwise each Origin (RFC 6454) must be http or https on host itself, which
// is what a page served under the static prefix sends; null, the origin of
// sandboxed pages and local files, never is. This covers WebSockets, which
// browsers open to any site without asking it first. Clients that are not
// browsers send neither header, or the Origin of the host that they call.
//
// A page whose own development server forwards to this listener keeps working
// in a browser that sends Sec-Fetch-Site: its requests are same-origin there,
// whatever Origin and Host became on the way.
func CrossSite(h http.Header, host string) bool {
	for _, site := range h["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" {
			return true
		}
	}
	if sites := h["Sec-Fetch-Site"]; len(sites) == 1 && sites[0] == "same-origin" {
		return false
	}
	for _, origin := range h["Origin"] {
		if !sameAuthority(origin, host) {
			return true
		}
	}
	return false
}

// sameAuthority reports whether origin is host's, over http or, where
// something in front of this listener terminates TLS, https.
func sameAuthority(origin, host string) bool {
	scheme, authority, ok := strings.Cut(origin, "://")
	return ok && host != "" && (scheme == "http" || scheme == "https") && strings.EqualFold(authority, host)
}
