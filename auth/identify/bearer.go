package identify

import (
	"net/http"
	"strings"

	"github.com/kuberelay/kuberelay/internal/headers"
)

const bearerScheme = "bearer"

// carriers are the values of a request's headers that may carry a token, of
// every spelling of their names.
type carriers struct {
	authorization []string
	subprotocols  []string // values of Sec-WebSocket-Protocol
	upgrade       []string
	connection    []string
}

// read gathers the headers. net/http spells names in one way; what else fills a
// http.Header may not, and a credential must not be overlooked for that.
func (h *carriers) read(from http.Header) {
	for name, values := range from {
		switch len(name) {
		case len("Authorization"):
			gather(&h.authorization, name, "Authorization", values)
		case len("Sec-WebSocket-Protocol"):
			gather(&h.subprotocols, name, "Sec-WebSocket-Protocol", values)
		case len("Upgrade"):
			gather(&h.upgrade, name, "Upgrade", values)
		case len("Connection"):
			gather(&h.connection, name, "Connection", values)
		}
	}
}

func gather(into *[]string, name, want string, values []string) {
	switch {
	case !strings.EqualFold(name, want):
	case *into == nil:
		*into = values
	default:
		*into = append((*into)[:len(*into):len(*into)], values...)
	}
}

// asksForWebsocket reports whether the request may become a websocket connection
// (RFC 6455 §4.1).
func (h *carriers) asksForWebsocket() bool {
	return headers.HasItem(h.upgrade, "websocket") && headers.HasItem(h.connection, "upgrade")
}

// bearer returns the token of the Authorization header, "" if there is no such
// header. Whatever else the header may be is refused: a credential that is not
// understood must not make the request one without a credential.
func (h *carriers) bearer() (string, *Refusal) {
	switch len(h.authorization) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", refuse(ReasonMalformed, "there is more than one Authorization header; send one")
	}
	scheme, token, ok := strings.Cut(h.authorization[0], " ")
	if !ok || !strings.EqualFold(scheme, bearerScheme) {
		return "", refuse(ReasonMalformed, "the Authorization header is not of the form \"Bearer TOKEN\"; no other scheme is known")
	}
	if !isToken(token) {
		return "", refuse(ReasonMalformed, "the Authorization header has no token after Bearer, or one with spaces or control characters")
	}
	return token, nil
}

// subprotocolBearer returns the token among the websocket subprotocols, "" if
// there is none or the request asks for no websocket. As with the API server
// there may be one, and another subprotocol beside it that the connection can
// then have.
func (h *carriers) subprotocolBearer() (string, *Refusal) {
	if len(h.subprotocols) == 0 || !h.asksForWebsocket() {
		return "", nil
	}
	const prefix = headers.BearerSubprotocol
	encoded, tokens, others := "", 0, 0
	for _, list := range h.subprotocols {
		for each := range strings.SplitSeq(list, ",") {
			each = strings.Trim(each, " \t")
			switch {
			case len(each) >= len(prefix) && strings.EqualFold(each[:len(prefix)], prefix):
				encoded = each[len(prefix):]
				tokens++
			case each != "":
				others++
			}
		}
	}
	switch {
	case tokens == 0:
		return "", nil
	case tokens > 1:
		return "", refuse(ReasonMalformed, "there is more than one bearer token among the websocket subprotocols; send one")
	case others == 0:
		return "", refuse(ReasonMalformed, "the bearer token is the only websocket subprotocol; offer the one to use beside it")
	case !isToken(encoded): // The decoder would skip line breaks.
		return "", refuse(ReasonMalformed, "the websocket subprotocol of the bearer token is not unpadded base64url")
	}
	raw, err := strict64.DecodeString(encoded)
	if err != nil {
		return "", refuse(ReasonMalformed, "the websocket subprotocol of the bearer token is not unpadded base64url")
	}
	token := string(raw)
	if !isToken(token) {
		return "", refuse(ReasonMalformed, "the bearer token among the websocket subprotocols has spaces or control characters")
	}
	return token, nil
}

// isToken reports whether s can be a token: visible ASCII, and not empty.
func isToken(s string) bool {
	for n := 0; n < len(s); n++ {
		if s[n] <= ' ' || s[n] >= 0x7f {
			return false
		}
	}
	return s != ""
}
