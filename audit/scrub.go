package audit

import "strings"

// redacted stands where a secret was.
const redacted = "[redacted]"

// uri appends the request target without its secrets, as the inside of a JSON
// string, until the line is end bytes long.
func (l *line) uri(e *Event, end int) {
	path, query, has := strings.Cut(e.RequestURI, "?")
	if !l.path(path, end) || !has {
		return
	}
	if throughProxy(e.Object, e.Verb, path) {
		l.escaped("?"+redacted, end)
		return
	}
	// API servers take only & for a separator. Taking ; for another one cannot
	// show more than they would.
	for separator := "?"; ; {
		i := strings.IndexAny(query, "&;")
		parameter := query
		if i >= 0 {
			parameter = query[:i]
		}
		if !l.escaped(separator, end) || !l.parameter(parameter, end) || i < 0 {
			return
		}
		separator, query = query[i:i+1], query[i+1:]
	}
}

// path appends what is before the query, without the user information that an
// absolute URI, an authority (RFC 9112 section 3.2) or a path that begins with
// two slashes may hold.
func (l *line) path(path string, end int) bool {
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		return l.escaped(path, end)
	}
	start := 0
	if i := strings.Index(path, "//"); i >= 0 {
		start = i + len("//")
	}
	authority, _, _ := strings.Cut(path[start:], "/")
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return l.escaped(path, end)
	}
	return l.escaped(path[:start], end) && l.escaped(redacted, end) && l.escaped(path[start+at:], end)
}

// parameter appends one name=value of a query.
func (l *line) parameter(p string, end int) bool {
	name, value, has := strings.Cut(p, "=")
	if !has {
		return l.escaped(p, end)
	}
	if value != "" && looksSecret(name) {
		value = redacted
	}
	return l.escaped(name, end) && l.escaped("=", end) && l.escaped(value, end)
}

// throughProxy reports whether the query is for something behind the cluster,
// whose parameters nobody here knows. Without an object, the request did not
// get so far that its path was understood, and is judged by its looks.
func throughProxy(o *ObjectRef, verb, path string) bool {
	if o != nil {
		// The verb is that of the form /api/v1/proxy/…, which old API servers
		// have.
		return o.Subresource == "proxy" || verb == "proxy"
	}
	return hasProxySegment(path)
}

// hasProxySegment reports whether one of path's segments is "proxy", however
// its characters and the slashes are encoded.
func hasProxySegment(path string) bool {
	const segment = "proxy"
	matched := 0 // characters of this segment; -1 once it is another one
	for i := 0; i < len(path); {
		var c byte
		switch c, i = unescapeAt(path, i); {
		case c == '/' || c == '\\' || c == ';':
			if matched == len(segment) {
				return true
			}
			matched = 0
		case matched >= 0 && matched < len(segment) && c == segment[matched]:
			matched++
		default:
			matched = -1
		}
	}
	return matched == len(segment)
}

// secretWords are what a secret's name has in it. None of the API's own
// parameters does.
var secretWords = []string{
	"token", "secret", "passw", "key", "auth", "credential", "signature", "session", "cookie", "jwt",
}

// looksSecret reports whether the name of a query parameter, as it stands in
// the URI, is that of a secret.
func looksSecret(name string) bool {
	var buf [64]byte
	decoded, whole := unescape(buf[:0], name)
	if !whole {
		return true // Nothing that is known is so long.
	}
	switch string(decoded) {
	case "code", "pwd", "pass", "sig":
		return true
	}
	for _, word := range secretWords {
		if strings.Contains(string(decoded), word) {
			return true
		}
	}
	return false
}

// unescape appends s to b in lower case and without percent-encoding, and false
// if b's capacity does not hold it all.
func unescape(b []byte, s string) ([]byte, bool) {
	for i := 0; i < len(s); {
		if len(b) == cap(b) {
			return b, false
		}
		var c byte
		c, i = unescapeAt(s, i)
		b = append(b, c)
	}
	return b, true
}

// unescapeAt returns the character at s[i] in lower case, which a well-formed
// percent-encoding may stand for, and where the next one is.
func unescapeAt(s string, i int) (c byte, next int) {
	c, next = s[i], i+1
	if c == '%' && i+2 < len(s) {
		high, ok1 := unhex(s[i+1])
		low, ok2 := unhex(s[i+2])
		if ok1 && ok2 {
			c, next = high<<4|low, i+3
		}
	}
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c, next
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
