package auth

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"k8s.io/client-go/rest"
)

// The headers of user impersonation, see
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
const (
	impersonateUser        = "Impersonate-User"
	impersonateUID         = "Impersonate-Uid"
	impersonateGroup       = "Impersonate-Group"
	impersonateExtraPrefix = "Impersonate-Extra-"
)

// impersonation is a complete set of Impersonate-* headers, ready to be
// assigned. Its slices are shared by all requests and never changed.
type impersonation []impersonationHeader

type impersonationHeader struct {
	name   string
	values []string
}

// newImpersonation returns the headers for c, nil when c impersonates nobody.
// A UID, group or extra without a user is refused, as kubectl and the API
// server do.
func newImpersonation(c rest.ImpersonationConfig) (impersonation, error) {
	if c.UserName == "" {
		if c.UID != "" || len(c.Groups) > 0 || len(c.Extra) > 0 {
			return nil, fmt.Errorf("impersonating a uid, group or extra needs a user to impersonate: set --as")
		}
		return nil, nil
	}
	set := impersonation{{impersonateUser, []string{c.UserName}}}
	if c.UID != "" {
		set = append(set, impersonationHeader{impersonateUID, []string{c.UID}})
	}
	if len(c.Groups) > 0 {
		set = append(set, impersonationHeader{impersonateGroup, slices.Clone(c.Groups)})
	}
	for _, key := range slices.Sorted(maps.Keys(c.Extra)) {
		name := http.CanonicalHeaderKey(impersonateExtraPrefix + escapeExtraKey(key))
		set = append(set, impersonationHeader{name, slices.Clone(c.Extra[key])})
	}
	for _, h := range set {
		for _, v := range h.values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return nil, fmt.Errorf("%s: %q cannot be sent as a header: remove the control characters", h.name, v)
			}
		}
	}
	return set, nil
}

// escapeExtraKey percent-encodes what cannot stand in a header name, and '%'
// itself, as the API server decodes it.
func escapeExtraKey(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if c == '%' || !httpguts.IsTokenRune(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// as returns whom the set stands for; nil for nobody.
func (set impersonation) as() *As {
	if len(set) == 0 {
		return nil
	}
	a := &As{headers: set}
	for _, h := range set {
		switch h.name {
		case impersonateUser:
			a.user = h.values[0]
		case impersonateUID:
			a.uid = h.values[0]
		case impersonateGroup:
			a.groups = h.values
		default:
			if a.extra == nil {
				a.extra = make(map[string][]string)
			}
			a.extra[extraKey(h.name)] = h.values
		}
	}
	return a
}

// extraKey undoes escapeExtraKey, except for the case of letters, which header
// names do not keep.
func extraKey(name string) string {
	key := strings.ToLower(strings.TrimPrefix(name, impersonateExtraPrefix))
	if decoded, err := url.PathUnescape(key); err == nil {
		return decoded
	}
	return key
}

// identity covers all of the set.
func (set impersonation) identity() identity {
	var parts []string
	for _, h := range set {
		parts = append(parts, h.name, strconv.Itoa(len(h.values)))
		parts = append(parts, h.values...)
	}
	return identify(parts...)
}
