package gossip

import (
	"strings"
	"testing"
)

// TestAPassphraseIsNoKey: 32 characters without a line's end have a key's
// length, and a hundredth of its strength.
func TestAPassphraseIsNoKey(t *testing.T) {
	for _, text := range []string{"correct horse battery staple 123", strings.Repeat("~", 32), strings.Repeat(" ", 32)} {
		if _, err := parseKey([]byte(text)); err == nil || !strings.Contains(err.Error(), "kuberelay gossip-key") || strings.Contains(err.Error(), text) {
			t.Errorf("%q: error %v, want one that says what to do, and not the text", text, err)
		}
	}
	for _, text := range []string{strings.Repeat("~", 31) + "\x7f", strings.Repeat("~", 31) + "\n", strings.Repeat("\x00", 32)} {
		if _, err := parseKey([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
