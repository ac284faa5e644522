package policy

import "strings"

// cutProxyTail cuts a path after the slash of …/proxy/ of a pod, a service or
// a node. All but the names has to be spelled without escapes: another
// spelling has no tail, and is held to the strict rules to its end. It returns
// the whole path and "" for all other paths.
//
// Source: Kubernetes API reference, "Proxy Operations" of Pod, Service, Node.
func cutProxyTail(path string) (head, tail string) {
	rest, found := strings.CutPrefix(path, "/api/v1/")
	if !found {
		return path, ""
	}
	if after, found := strings.CutPrefix(rest, "namespaces/"); found {
		_, after, _ = strings.Cut(after, "/") // the namespace
		if rest, found = strings.CutPrefix(after, "pods/"); !found {
			rest, found = strings.CutPrefix(after, "services/")
		}
		if !found {
			return path, ""
		}
	} else if rest, found = strings.CutPrefix(rest, "nodes/"); !found {
		return path, ""
	}
	name, rest, _ := strings.Cut(rest, "/")
	tail, found = strings.CutPrefix(rest, "proxy/")
	if !found || name == "" {
		return path, ""
	}
	return path[:len(path)-len(tail)], tail
}

// tailProblem is what is wrong with what follows …/proxy/, "" if nothing is.
func tailProblem(tail string) string {
	plain := true // no escapes, backslashes or pairs of dots
	for i := 0; i < len(tail); i++ {
		c := tail[i]
		switch {
		case c == '%':
			decoded, ok := unhex(tail[i:])
			if !ok {
				return badEscape
			}
			if decoded < ' ' || decoded == 0x7f {
				return badControl
			}
			i += 2
			plain = false
		case c <= ' ', c == 0x7f, c == '?', c == '#':
			return rawProblem(c)
		case c == '\\', c == '.' && i+1 < len(tail) && tail[i+1] == '.':
			plain = false
		}
	}
	if !plain && climbs(tail) {
		return badClimb
	}
	return ""
}

// climbs reports whether somebody who takes dot segments out of a path could be
// led out of the tail by one. Who that is may decode the tail before, once or
// twice, or not at all; may take backslashes for slashes, or not; and may
// merge slashes, or not. So every ".." that any of them would see goes up, and
// of what lies between only as many segments go down as all of them would see.
func climbs(tail string) bool {
	depth := 0
	for raw := range strings.SplitSeq(tail, "/") {
		counted := false // the segments since the last "..", which may be one for some
		for _, s := range strings.FieldsFunc(decodeTwice(raw), isSlash) {
			s, _, _ = strings.Cut(s, ";")
			switch {
			case s == "..":
				if depth--; depth < 0 {
					return true
				}
				counted = false
			case s != "" && s != "." && !counted:
				depth++
				counted = true
			}
		}
	}
	return false
}

func isSlash(r rune) bool { return r == '/' || r == '\\' }

// decodeTwice decodes the escapes that s has, and those that this makes.
func decodeTwice(s string) string {
	for range 2 {
		if strings.IndexByte(s, '%') < 0 {
			return s
		}
		b := make([]byte, 0, len(s))
		for i := 0; i < len(s); i++ {
			c, ok := unhex(s[i:])
			if !ok {
				b = append(b, s[i])
				continue
			}
			b = append(b, c)
			i += 2
		}
		s = string(b)
	}
	return s
}
