package filter

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// matcher is one compiled pattern. Most patterns in use are literals with ".*"
// between them; for those re is nil and the comparison is done on strings,
// which costs nanoseconds where a regular expression costs microseconds.
type matcher struct {
	re *regexp.Regexp

	// The pattern is literals joined by ".*". Unless start is set there is
	// exactly one literal.
	literals   []string
	start, end bool // anchored by ^, by $
}

func compile(pattern string) (matcher, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return matcher{}, err
	}
	if m, ok := simplify(pattern); ok {
		return m, nil
	}
	return matcher{re: re}, nil
}

// simplify recognises ^lit$, ^lit.*lit, lit and the like. It declines
// everything else, and whatever could make strings and regexp disagree.
func simplify(pattern string) (matcher, bool) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return matcher{}, false
	}
	parts := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		parts = tree.Sub
	}
	m := matcher{literals: []string{""}}
	for i, p := range parts {
		switch {
		case p.Op == syntax.OpEmptyMatch:
		case p.Op == syntax.OpBeginText && i == 0:
			m.start = true
		case p.Op == syntax.OpEndText && i == len(parts)-1:
			m.end = true
		case p.Op == syntax.OpLiteral && p.Flags&syntax.FoldCase == 0 && plain(p.Rune):
			m.literals[len(m.literals)-1] += string(p.Rune)
		case p.Op == syntax.OpStar && p.Sub[0].Op == syntax.OpBeginText:
			// The ^* of ^*$, which many documents have: it asks for nothing.
		case p.Op == syntax.OpStar && p.Sub[0].Op == syntax.OpAnyCharNotNL:
			// In front of an unanchored literal, ".*" asks for nothing.
			if m.start || len(m.literals[0]) > 0 {
				m.literals = append(m.literals, "")
			}
		default:
			return matcher{}, false
		}
	}
	// At the end of an unanchored pattern it does neither.
	for n := len(m.literals) - 1; !m.end && n > 0 && m.literals[n] == ""; n-- {
		m.literals = m.literals[:n]
	}
	// An unanchored a.*b would have to be tried on every line of the subject.
	if !m.start && len(m.literals) > 1 {
		return matcher{}, false
	}
	return m, true
}

// plain reports whether all of rs are printable ASCII: then bytes are
// characters, and no literal reaches across a line's end.
func plain(rs []rune) bool {
	return !slices.ContainsFunc(rs, func(r rune) bool { return r < ' ' || r > '~' })
}

func (m *matcher) match(s string) bool {
	if m.re != nil {
		return m.re.MatchString(s)
	}
	first := m.literals[0]
	if len(m.literals) == 1 {
		switch {
		case m.start && m.end:
			return s == first
		case m.start:
			return strings.HasPrefix(s, first)
		case m.end:
			return strings.HasSuffix(s, first)
		}
		return strings.Contains(s, first)
	}
	// Neither a literal nor ".*" reaches past the first line, so that a
	// pattern anchored at both ends matches no text of several lines, and any
	// other is decided by the first.
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		if m.end {
			return false
		}
		s = s[:i]
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	middle, last := m.literals[1:], ""
	if m.end {
		middle, last = middle[:len(middle)-1], middle[len(middle)-1]
	}
	// The earliest place of each literal leaves the most room for the next.
	for _, literal := range middle {
		i := strings.Index(s, literal)
		if i < 0 {
			return false
		}
		s = s[i+len(literal):]
	}
	return strings.HasSuffix(s, last)
}
