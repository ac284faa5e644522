package auth

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/kuberelay/kuberelay/internal/headers"
)

// SharedOptions say what [RebuildShared] adds beside the lease.
type SharedOptions struct {
	// As is as whom the request is made; nil: as the lease says.
	As *As
	// PeerIP is the one value of X-Forwarded-For, by which the API server's
	// audit log knows where a request came from; "" (Unix socket): none.
	PeerIP string
	// Upgrade is the protocol of an upgrade that may pass; "": none.
	Upgrade string
	// DefaultUserAgent is set when the client sent none; "": none is.
	DefaultUserAgent string
	// SchemeHTTP says that the upstream is http://: a credential is not sent
	// in clear text. Impersonation is.
	SchemeHTTP bool
}

// RebuildShared fills dst with the headers that go upstream for a client of a
// shared listener. dst is emptied first; of the client's headers only those are
// copied that say nothing about who calls or how the request came here:
//
//   - Authorization, Proxy-*, Cookie, Impersonate-*, X-Remote-*, X-Forwarded-*,
//     Forwarded, X-Real-Ip, X-Original-*, Via, and headers that ask for another
//     method, never pass, in any case and with "_" for "-" (CVE-2025-64484);
//   - neither do hop-by-hop headers (RFC 9110 §7.6.1) and those that Connection
//     names; it cannot name what is set here, which comes after
//     (CVE-2022-23652);
//   - of Sec-WebSocket-Protocol, bearer tokens are taken out.
//
// Then impersonation and, last of all, the lease's Authorization are set.
// Slices of values are shared with in, with the lease and with As: neither
// they nor dst's values may be changed in place afterwards.
func RebuildShared(dst, in http.Header, l *Lease, o SharedOptions) {
	clear(dst)
	var connection, te bool
	for name, values := range in {
		switch classifyShared(name) {
		case headerPlain:
			dst[name] = values
		case headerConnection:
			connection = connection || namesHeaders(values)
		case headerTE:
			te = te || headers.HasItem(values, "trailers")
		case headerUserAgent:
			join(dst, "User-Agent", values)
		case headerWebSocketProtocol:
			if kept := withoutBearer(values); len(kept) > 0 {
				join(dst, webSocketProtocol, kept)
			}
		case headerDropped, headerAuthorization, headerImpersonateUser, headerImpersonateUID, headerImpersonateGroup,
			headerImpersonateOther, headerUpgrade, headerForwardedFor:
		}
	}
	if connection {
		removeNamed(dst, in)
	}
	if te {
		dst["Te"] = teTrailers
	}
	if o.PeerIP != "" {
		dst["X-Forwarded-For"] = []string{o.PeerIP}
	}
	if o.DefaultUserAgent != "" && blank(dst["User-Agent"]) {
		dst["User-Agent"] = []string{o.DefaultUserAgent}
	}
	if o.Upgrade != "" {
		dst["Connection"] = connectionUpgrade
		dst["Upgrade"] = []string{o.Upgrade}
	}
	carried := l.carried()
	as := carried.impersonation
	if o.As != nil {
		as = o.As.headers
	}
	for _, h := range as {
		dst[h.name] = h.values
	}
	if carried.authorization != nil && (!o.SchemeHTTP || carried.plainHTTP) {
		dst["Authorization"] = carried.authorization
	}
}

// sharedDropped lists, in lower case and by first letter, what a shared
// listener keeps from upstreams besides what [classify] knows. A name that
// ends in "-" is a prefix.
var sharedDropped = [...]string{
	"audit-id", // ours is set by the data path
	"cookie", "cookie2",
	"forwarded",
	"via",
	"x-forwarded-", "x-real-ip", "x-original-", "x-client-ip", "x-cluster-client-ip",
	"x-http-method", "x-http-method-", "x-method-override",
}

// classifyShared is [classify] for a shared listener. The canonical names that
// clients of Kubernetes send are found by one switch.
func classifyShared(name string) headerKind {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Type", "Content-Encoding",
		"If-Match", "If-None-Match", "Kubectl-Command", "Kubectl-Session", "Range", "Sec-Websocket-Extensions",
		"Sec-Websocket-Key", "Sec-Websocket-Version", "Traceparent", "X-Request-Id", "X-Stream-Protocol-Version":
		return headerPlain
	case webSocketProtocol:
		return headerWebSocketProtocol
	}
	kind := classify(name)
	if kind != headerPlain {
		return kind
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return headerDropped
	}
	if matches, _ := matchAnyCase(name, "sec-websocket-protocol"); matches {
		return headerWebSocketProtocol
	}
	first := name[0] | 0x20
	for _, dropped := range sharedDropped {
		if dropped[0] != first {
			continue
		}
		if matches, _ := matchAnyCase(name, dropped); matches {
			return headerDropped
		}
	}
	return headerPlain
}

const webSocketProtocol = "Sec-Websocket-Protocol"

// withoutBearer returns the subprotocols that are no bearer tokens.
func withoutBearer(values []string) []string {
	if !slices.ContainsFunc(values, func(v string) bool { return containsFold(v, headers.BearerSubprotocol) }) {
		return values
	}
	var kept []string
	for _, v := range values {
		for protocol := range strings.SplitSeq(v, ",") {
			protocol = strings.TrimSpace(protocol)
			if protocol != "" && !containsFold(protocol, headers.BearerSubprotocol) {
				kept = append(kept, protocol)
			}
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return []string{strings.Join(kept, ", ")}
}

func containsFold(s, lower string) bool { return strings.Contains(strings.ToLower(s), lower) }
