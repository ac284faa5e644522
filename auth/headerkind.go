package auth

import "golang.org/x/net/http/httpguts"

// headerKind is what [Rebuild] does with a header of a client.
type headerKind uint8

const (
	headerPlain headerKind = iota
	headerDropped
	headerAuthorization
	headerImpersonateUser
	headerImpersonateUID
	headerImpersonateGroup
	headerImpersonateOther
	headerConnection
	headerTE
	headerUpgrade
	headerUserAgent
	headerForwardedFor
	headerWebSocketProtocol // of classifyShared alone
)

func (k headerKind) impersonates() bool {
	return k >= headerImpersonateUser && k <= headerImpersonateOther
}

// classify sorts a header by its name. The canonical names that clients of
// Kubernetes send are found by one switch, without looking at single bytes.
func classify(name string) headerKind {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Type", "Content-Encoding",
		"Cookie", "If-Match", "If-None-Match", "Kubectl-Command", "Kubectl-Session", "Origin", "Range", "Referer",
		"Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Websocket-Extensions", "Sec-Websocket-Key",
		"Sec-Websocket-Protocol", "Sec-Websocket-Version", "Traceparent", "Via", "Forwarded", "X-Real-Ip",
		"X-Request-Id", "X-Stream-Protocol-Version", "X-Forwarded-Host", "X-Forwarded-Proto":
		return headerPlain
	case "User-Agent":
		return headerUserAgent
	case "Authorization":
		return headerAuthorization
	case "Connection":
		return headerConnection
	case "Content-Length":
		return headerDropped
	case "X-Forwarded-For":
		return headerForwardedFor
	}
	return classifyAnyCase(name)
}

// special lists, in lower case and by first letter, every name that is not just
// copied. A name that ends in "-" is a prefix.
var special = [...]struct {
	name string
	kind headerKind
}{
	{"authorization", headerAuthorization},
	{"connection", headerConnection},
	{"content-length", headerDropped},
	{"expect", headerDropped},
	{"host", headerDropped},
	{"http2-settings", headerDropped},
	{"impersonate-user", headerImpersonateUser},
	{"impersonate-uid", headerImpersonateUID},
	{"impersonate-group", headerImpersonateGroup},
	{"impersonate-", headerImpersonateOther},
	{"keep-alive", headerDropped},
	{"proxy-", headerDropped},
	{"te", headerTE},
	{"trailer", headerDropped},
	{"transfer-encoding", headerDropped},
	{"upgrade", headerUpgrade},
	{"user-agent", headerUserAgent},
	{"x-forwarded-for", headerForwardedFor},
	{"x-remote-", headerDropped},
}

func classifyAnyCase(name string) headerKind {
	if !httpguts.ValidHeaderFieldName(name) {
		return headerDropped
	}
	first := name[0] | 0x20
	for i := range special {
		s := &special[i]
		if s.name[0] != first {
			continue
		}
		matches, underscore := matchAnyCase(name, s.name)
		switch {
		case !matches:
		case underscore:
			return headerDropped
		default:
			return s.kind
		}
	}
	return headerPlain
}

// matchAnyCase compares name with a lower-case want, which is a prefix when it
// ends in "-", taking "_" for "-"; underscore says that it had to.
func matchAnyCase(name, want string) (matches, underscore bool) {
	if len(name) < len(want) || len(name) > len(want) && want[len(want)-1] != '-' {
		return false, false
	}
	for i := range len(want) {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		case c == '_' && want[i] == '-':
			c, underscore = '-', true
		}
		if c != want[i] {
			return false, false
		}
	}
	return true, underscore
}
