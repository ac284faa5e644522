package identify

import "strings"

// printable returns s in ASCII without spaces, controls, and the characters
// that have a meaning in an ID, which are percent-encoded; what is longer than
// limit bytes then is cut, and ends in "...".
func printable(s string, limit int) string { return encode(s, limit, isPlain) }

// printableText is printable for a sentence, which has spaces and quotes.
func printableText(s string, limit int) string {
	return encode(s, limit, func(c byte) bool { return c >= ' ' && c < 0x7f })
}

func encode(s string, limit int, plain func(byte) bool) string {
	clean := len(s) <= limit
	for n := 0; clean && n < len(s); n++ {
		clean = plain(s[n])
	}
	if clean {
		return s
	}
	const digits, cut = "0123456789ABCDEF", "..."
	var b strings.Builder
	for n := 0; n < len(s); n++ {
		if b.Len()+len("%XX")+len(cut) > limit {
			b.WriteString(cut)
			break
		}
		if c := s[n]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func isPlain(c byte) bool {
	return c > ' ' && c < 0x7f && !strings.ContainsRune(`+%"\\`, rune(c))
}
