package auth

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kuberelay/kuberelay/internal/headers"
)

// RebuildOptions say what [Rebuild] adds beside the lease.
type RebuildOptions struct {
	// PeerIP is appended to X-Forwarded-For; "" (unix socket): nothing is.
	PeerIP string
	// Upgrade passes the client's Upgrade on, with a Connection header of our
	// own. Whether this upgrade may pass is decided before.
	Upgrade bool
	// DefaultUserAgent is set when the client sent none; "": none is.
	DefaultUserAgent string
	// SchemeHTTP says that the upstream is http://: a kubeconfig's credential
	// is not sent in clear text, as in kubectl. Impersonation is.
	SchemeHTTP bool
}

// The values of our own that Rebuild assigns: shared, never changed.
var (
	connectionUpgrade = []string{"Upgrade"}
	teTrailers        = []string{"trailers"}
)

// Rebuild fills dst with the headers that go upstream for a client's headers
// in, on a single listener. It reports whether it put the lease's credential
// into use: then an upstream's 401 is the lease's, to be shown to
// [Kubeconfig.Refused], and not the client's own.
//
// dst is emptied first. Slices of values are shared with in and with the lease,
// so neither they nor dst's values may be changed in place afterwards; in is
// not changed. In this order:
//
//  1. Everything is copied except hop-by-hop headers (RFC 9110 §7.6.1:
//     Connection and what it names, Keep-Alive, Proxy-*, TE but for "trailers",
//     Trailer, Transfer-Encoding, Upgrade), what the transport writes itself
//     (Host, Content-Length), Expect (answered by our own server), X-Remote-*
//     (the front proxy's identity headers), and names that are no token.
//     Connection cannot name Authorization or Impersonate-*: leaving those out
//     would make the request somebody else's (CVE-2021-31999).
//  2. PeerIP, the default User-Agent and the upgrade headers are added.
//  3. A client's Impersonate-User replaces the configured impersonation as a
//     whole. Without it, configured impersonation replaces whatever other
//     Impersonate-* the client sent: client-go would append a lone
//     Impersonate-Group to the configured groups. With nothing configured, the
//     client's pass, and are judged by the API server with our credential.
//  4. The lease's Authorization is set, unless the client sent one that is not
//     blank: that one passes, alone.
//
// Names are matched in any case. A spelling with "_" of any header named here
// is dropped, because some servers read it as "-" (CVE-2025-64484).
func Rebuild(dst, in http.Header, l *Lease, o RebuildOptions) (injected bool) {
	clear(dst)
	var client clientHeaders
	for name, values := range in {
		switch kind := classify(name); kind {
		case headerPlain:
			dst[name] = values
		case headerDropped:
		default:
			client.take(dst, kind, name, values)
		}
	}
	if client.connection {
		removeNamed(dst, in)
	}

	if o.PeerIP != "" {
		appendPeer(dst, o.PeerIP)
	}
	if o.DefaultUserAgent != "" && blank(dst["User-Agent"]) {
		dst["User-Agent"] = []string{o.DefaultUserAgent}
	}
	if o.Upgrade && client.upgrade.values != nil {
		dst["Connection"] = connectionUpgrade
		dst["Upgrade"] = client.upgrade.values
	}
	carried := l.carried()
	client.impersonate(dst, carried.impersonation)
	if client.authorize(dst, carried, o.SchemeHTTP) {
		return true
	}
	return client.authorization.values == nil && !o.SchemeHTTP && l != nil && l.certificate != nil
}

// clientHeaders is what a client sent that needs more than copying.
type clientHeaders struct {
	authorization, user, upgrade choice

	connection   bool // it has a Connection header that names something
	impersonates bool // it has some Impersonate-* besides the user
}

// choice is the one value that counts of a header that has one value.
type choice struct {
	name   string
	values []string // one that is not blank, or nil
}

// offer keeps the first value that is not blank. Of several spellings of the
// name the same one wins whatever the order of the map.
func (c *choice) offer(name string, values []string) {
	if c.values != nil && c.name <= name {
		return
	}
	for i, v := range values {
		if strings.TrimSpace(v) != "" {
			c.name, c.values = name, values[i:i+1:i+1]
			return
		}
	}
}

// take sorts one header in.
func (c *clientHeaders) take(dst http.Header, kind headerKind, name string, values []string) {
	switch kind {
	case headerAuthorization:
		c.authorization.offer(name, values)
	case headerImpersonateUser:
		c.user.offer(name, values)
	case headerImpersonateUID:
		c.impersonates = true
		join(dst, impersonateUID, values)
	case headerImpersonateGroup:
		c.impersonates = true
		join(dst, impersonateGroup, values)
	case headerImpersonateOther:
		c.impersonates = true
		dst[name] = values
	case headerUpgrade:
		c.upgrade.offer(name, values)
	case headerConnection:
		c.connection = c.connection || namesHeaders(values)
	case headerTE:
		if headers.HasItem(values, "trailers") {
			dst["Te"] = teTrailers
		}
	case headerUserAgent:
		join(dst, "User-Agent", values)
	case headerForwardedFor:
		join(dst, "X-Forwarded-For", values)
	}
}

// impersonate settles whose Impersonate-* headers go upstream.
func (c *clientHeaders) impersonate(dst http.Header, configured impersonation) {
	if c.user.values != nil {
		dst[impersonateUser] = c.user.values
		return
	}
	if len(configured) == 0 {
		return
	}
	if c.impersonates {
		for name := range dst {
			if classify(name).impersonates() {
				delete(dst, name)
			}
		}
	}
	for _, h := range configured {
		dst[h.name] = h.values
	}
}

// authorize sets Authorization, last of all, and reports whether it is the
// lease's.
func (c *clientHeaders) authorize(dst http.Header, lease *leaseHeaders, plainHTTP bool) bool {
	if c.authorization.values != nil {
		dst["Authorization"] = c.authorization.values
		return false
	}
	if lease.authorization == nil || plainHTTP && !lease.plainHTTP {
		return false
	}
	dst["Authorization"] = lease.authorization
	return true
}

// join adds values under a name that may be there already in another spelling.
func join(dst http.Header, name string, values []string) {
	if present, ok := dst[name]; ok {
		values = append(slices.Clone(present), values...)
	}
	dst[name] = values
}

// appendPeer appends ip to X-Forwarded-For, as one value.
func appendPeer(dst http.Header, ip string) {
	if prior := dst["X-Forwarded-For"]; len(prior) > 0 {
		ip = strings.Join(prior, ", ") + ", " + ip
	}
	dst["X-Forwarded-For"] = []string{ip}
}

// removeNamed deletes from dst what the Connection headers of in name.
func removeNamed(dst, in http.Header) {
	named := make(map[string]struct{})
	for name, values := range in {
		if classify(name) != headerConnection {
			continue
		}
		for _, v := range values {
			for token := range strings.SplitSeq(v, ",") {
				named[strings.ToLower(strings.TrimSpace(token))] = struct{}{}
			}
		}
	}
	for name := range dst {
		// Te is "trailers" by now, which is for the next hop but is passed on
		// as it is for gRPC and as net/http/httputil does.
		if kind := classify(name); kind.impersonates() || kind == headerTE {
			continue
		}
		if _, ok := named[strings.ToLower(name)]; ok {
			delete(dst, name)
		}
	}
}

// namesHeaders reports whether a Connection header names anything beyond the
// options that are dropped anyway.
func namesHeaders(values []string) bool {
	for _, v := range values {
		for token := range strings.SplitSeq(v, ",") {
			token = strings.TrimSpace(token)
			if token != "" && !strings.EqualFold(token, "keep-alive") && !strings.EqualFold(token, "close") && !strings.EqualFold(token, "upgrade") {
				return true
			}
		}
	}
	return false
}

// blank reports whether no value says anything.
func blank(values []string) bool {
	for _, v := range values {
		if strings.TrimSpace(v) != "" {
			return false
		}
	}
	return true
}
