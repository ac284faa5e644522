package filter

import (
	"regexp"
	"slices"
	"testing"
)

// The patterns that people use must not fall back to regexp unnoticed.
func TestCommonPatternsNeedNoRegexp(t *testing.T) {
	c := DefaultConfig()
	patterns := slices.Concat(c.AcceptHosts, c.AcceptPaths, c.RejectPaths, c.RejectMethods)
	patterns = append(patterns, "", "POST", ".*", "^*$", ".*x", "^/api/.*", "^/apis/apps/v1", `\.example\.org$`, "^a.*b$")
	for _, p := range patterns {
		m, err := compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if m.re != nil {
			t.Errorf("pattern %q is left to regexp", p)
		}
	}
}

// FuzzMatcher compares the string matcher with regexp on small alphabets, in
// which a mutation often gives a pattern that simplify takes.
func FuzzMatcher(f *testing.F) {
	for _, p := range []string{"^a.*b", "^a.*b$", "ab$", "^.*$", "^", "$", "", "^a.*a.*a$", "^ab$", "(?m)^a$", "(?i)ab", "^a.*?b", "(?s)^a.*b", "^(a).*b", "a|b", "^a\nb", "^*$", ".*ab", ".*.*a$", "a.*", "^*a", "a^*b", "é", `\Aa\z`} {
		for _, s := range []string{"", "a", "ab", "aab", "a\nb", "ab\n", "axxbxxb", "aa", "aaa", "a\xffb", "AB", "éa"} {
			f.Add(p, s)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return
		}
		m, err := compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := m.match(s), re.MatchString(s); got != want {
			t.Errorf("pattern %q on %q: %v, regexp says %v (literals %q, start %v, end %v)", pattern, s, got, want, m.literals, m.start, m.end)
		}
	})
}
