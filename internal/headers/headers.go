// Package headers reads what several packages look for in requests' headers,
// so that none sees there what another does not.
package headers

import "strings"

// BearerSubprotocol begins the WebSocket subprotocol that carries a bearer
// token, for clients that cannot set a header
// (k8s.io/apiserver/pkg/authentication/request/websocket). What follows is the
// token in unpadded base64url.
const BearerSubprotocol = "base64url.bearer.authorization.k8s.io."

// HasItem reports whether one of the comma-separated lists has the item, in any
// case (RFC 9110, section 5.6.1).
func HasItem(lists []string, item string) bool {
	for _, list := range lists {
		for each := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.Trim(each, " \t"), item) {
				return true
			}
		}
	}
	return false
}
