package proxy

import (
	"net/url"
	"path"
	"strings"
)

// rawPath is the path as the client wrote it, except that each byte that
// cannot stand in a request-target is percent-encoded. [url.URL.EscapedPath]
// differs for a path with such a byte: it writes all of it anew, and its %2F
// become slashes.
func rawPath(u *url.URL) string {
	if u.RawPath == "" {
		return u.EscapedPath()
	}
	clean := 0
	for clean < len(u.RawPath) && pathByte[u.RawPath[clean]] {
		clean++
	}
	if clean == len(u.RawPath) {
		return u.RawPath
	}
	const hex = "0123456789ABCDEF"
	b := append(make([]byte, 0, len(u.RawPath)+16), u.RawPath[:clean]...)
	for _, c := range []byte(u.RawPath[clean:]) {
		if pathByte[c] {
			b = append(b, c)
			continue
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	return string(b)
}

// pathByte are the bytes that stand in a path unescaped: those of RFC 3986,
// section 3.3, and square brackets, which net/url lets pass as well.
var pathByte = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/[]%") {
		t[c] = true
	}
	return t
}()

// canonical is the path to which a client is redirected from an escaped path:
// cleaned, and a prefix that lacks its trailing slash gets it. A path that is
// canonical is returned as it is, byte for byte.
func canonical(escaped string, prefixes ...string) string {
	clean := cleanPath(escaped)
	for _, prefix := range prefixes {
		if len(prefix) == len(clean)+1 && prefix[:len(clean)] == clean && prefix[len(clean)] == '/' {
			return prefix
		}
	}
	return clean
}

// cleanPath takes out empty segments and dot segments, and keeps a slash at
// the end. A percent-encoded dot counts as a dot, so that the request filter
// sees what an upstream that decodes it would. The result begins with exactly
// one slash: a redirect to it stays on this host.
func cleanPath(p string) string {
	if !mayNeedCleaning(p) {
		return p
	}
	var kept []string
	last := false // the last segment was taken out: what remains is a directory
	for segment := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		dots := dotSegment(segment)
		last = segment == "" || dots > 0
		switch {
		case dots == 2 && len(kept) > 0:
			kept = kept[:len(kept)-1]
		case !last:
			kept = append(kept, segment)
		}
	}
	clean := "/" + strings.Join(kept, "/")
	if last && clean != "/" {
		clean += "/"
	}
	return clean
}

// resolve is path.Clean that keeps a slash at the end.
func resolve(decoded string) string {
	clean := path.Clean(decoded)
	if strings.HasSuffix(decoded, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// mayNeedCleaning finds the few paths worth the work: with an empty segment
// or one that begins with a dot, plain or encoded.
func mayNeedCleaning(p string) bool {
	if p == "" || p[0] != '/' {
		return true
	}
	for i := 0; i+1 < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		if c := p[i+1]; c == '/' || c == '.' || c == '%' && encodedDot(p[i+1:]) {
			return true
		}
	}
	return false
}

// dotSegment is 1 for "." and 2 for "..", in whatever spelling, and else 0.
func dotSegment(s string) (dots int) {
	for s != "" {
		switch {
		case s[0] == '.':
			s = s[1:]
		case encodedDot(s):
			s = s[3:]
		default:
			return 0
		}
		if dots++; dots > 2 {
			return 0
		}
	}
	return dots
}

func encodedDot(s string) bool {
	return len(s) >= 3 && s[0] == '%' && s[1] == '2' && s[2]|0x20 == 'e'
}

// stripPrefix takes an API prefix, which ends in a slash, off the decoded and
// the escaped path, unless it begins with "/api": kubectl proxy's rule. It is
// false for a path outside the prefix.
func stripPrefix(prefix, decoded, escaped string) (d, e string, inside bool) {
	if !strings.HasPrefix(decoded, prefix) {
		return "", "", false
	}
	if prefix == "/" || strings.HasPrefix(prefix, "/api") {
		return decoded, escaped, true
	}
	n := len(prefix) - 1
	for range n { // the prefix may be written with escapes
		if escaped[0] == '%' {
			escaped = escaped[2:]
		}
		escaped = escaped[1:]
	}
	// "/custom%2Fx" is one segment, and not below "/custom/".
	return decoded[n:], escaped, escaped[0] == '/'
}

// unescapePath decodes an escaped path.
func unescapePath(escaped string) (string, error) {
	if !strings.Contains(escaped, "%") {
		return escaped, nil
	}
	return url.PathUnescape(escaped)
}
