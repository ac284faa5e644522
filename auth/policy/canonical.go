package policy

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// PathError says why a request cannot be decided on: its path (or its method
// or query) can be read in more than one way. It is answered with 400.
type PathError struct {
	// Path is the escaped path, as it would have been sent.
	Path string
	// Reason is what is wrong and, where that is not plain, what to do. It
	// never quotes the query.
	Reason string
}

// maxQuoted bounds what a message repeats of a request.
const maxQuoted = 200

func (e *PathError) Error() string { return "path " + quote(e.Path) + ": " + e.Reason }

// quote quotes a stranger's text for a message.
func quote(s string) string {
	if len(s) > maxQuoted {
		return fmt.Sprintf("%q…", s[:maxQuoted])
	}
	return fmt.Sprintf("%q", s)
}

// Canonical checks that a path, escaped as it is written upstream, can be read
// in one way only. It returns a *PathError for one that cannot:
//
//   - one that does not begin with exactly one slash;
//   - one with an empty segment, except that one slash may end it;
//   - one with a segment "." or "..", in any spelling;
//   - one with an encoded slash, a backslash, an encoded percent sign (which
//     what decodes twice would read differently) or a control character;
//   - one that is not UTF-8 when it is decoded, or has bytes that
//     RFC 3986, section 3.3, wants encoded.
//
// What follows …/proxy/ of pods, services and nodes is for whatever is behind
// them, and all of that may be in it but control characters, and dot segments
// that lead out of it: what stands before the API server could take those away.
func Canonical(escapedPath string) error {
	_, err := decode(escapedPath)
	return err
}

// decode returns the decoded path of one that is canonical.
func decode(escaped string) (string, error) {
	if escaped == "" || escaped[0] != '/' {
		return "", &PathError{escaped, "it does not begin with a slash"}
	}
	head, tail := cutProxyTail(escaped)
	reason := headProblem(head)
	if reason == "" {
		reason = tailProblem(tail)
	}
	if reason != "" {
		return "", &PathError{escaped, reason}
	}
	if strings.IndexByte(escaped, '%') < 0 {
		return escaped, nil
	}
	decoded, err := url.PathUnescape(escaped)
	if err != nil {
		return "", &PathError{escaped, badEscape}
	}
	if !utf8.ValidString(decoded[:decodedLen(head)]) {
		return "", &PathError{escaped, "it is not UTF-8"}
	}
	return decoded, nil
}

// decodedLen is how long a well-formed escaped text is when it is decoded.
func decodedLen(escaped string) int { return len(escaped) - 2*strings.Count(escaped, "%") }

// The reasons that several checks share.
const (
	badEscape   = "it has a percent sign that two hexadecimal digits do not follow"
	badControl  = "it has a control character"
	badDots     = `it has a segment "." or ".."; send the path that it leads to`
	badClimb    = `it has segments ".." that may lead out of what follows proxy/`
	badEmpty    = `it has an empty segment ("//")`
	badSlash    = "it has an encoded slash (%2F), which no name has"
	badBack     = "it has a backslash, which no name has"
	badPercent  = "it has an encoded percent sign (%25), which no name has"
	badQuestion = `it has a "?" or "#" that is not percent-encoded`
	badRaw      = "it has a byte that has to be percent-encoded"
)

// headProblem is what is wrong with a path, or what of it stands before a
// proxy tail; "" if nothing is.
func headProblem(head string) string {
	var s segment
	for i := 1; i < len(head); i++ {
		c := head[i]
		if c == '/' {
			if s.len == 0 {
				return badEmpty
			}
			if s.dots() {
				return badDots
			}
			s = segment{}
			continue
		}
		if c == '%' {
			var ok bool
			if c, ok = unhex(head[i:]); !ok {
				return badEscape
			}
			i += 2
			switch {
			case c < ' ' || c == 0x7f:
				return badControl
			case c == '/':
				return badSlash
			case c == '%':
				return badPercent
			case c == '\\':
				return badBack
			}
		} else if !pathByte[c] {
			return rawProblem(c)
		}
		s.add(c)
	}
	if s.dots() {
		return badDots
	}
	return ""
}

// rawProblem names the byte that cannot stand in a path as it is.
func rawProblem(c byte) string {
	switch {
	case c < ' ' || c == 0x7f:
		return badControl
	case c == '\\':
		return badBack
	case c == '?' || c == '#':
		return badQuestion
	}
	return badRaw
}

// segment is what of a segment has been read, decoded.
type segment struct {
	len    int
	points int  // dots, while nothing else was seen
	other  bool // something else was seen
	semi   bool // a semicolon was seen: parameters follow, which some servers take off
}

func (s *segment) add(c byte) {
	s.len++
	switch {
	case s.semi:
	case c == ';':
		s.semi = true
	case c == '.':
		s.points++
	default:
		s.other = true
	}
}

// dots reports whether the segment is "." or "..", with or without parameters.
func (s *segment) dots() bool { return !s.other && (s.points == 1 || s.points == 2) }

// unhex reads the escape "%2F" at the beginning of s.
func unhex(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	high, low := hexDigit[s[1]], hexDigit[s[2]]
	if high == 0 || low == 0 {
		return 0, false
	}
	return (high-1)<<4 | (low - 1), true
}

// hexDigit is the value of a hexadecimal digit plus one, 0 for other bytes.
var hexDigit = func() (t [256]byte) {
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i) + 1
	}
	for i, c := range []byte("ABCDEF") {
		t[c] = byte(i) + 11
	}
	return t
}()

// pathByte says which bytes stand in a path as they are: those of RFC 3986,
// section 3.3, and square brackets, which net/url lets pass as well.
var pathByte = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/[]") {
		t[c] = true
	}
	return t
}()
