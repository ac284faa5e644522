package headers_test

import (
	"testing"

	"github.com/kuberelay/kuberelay/internal/headers"
)

func TestHasItem(t *testing.T) {
	for _, c := range []struct {
		lists []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"upgrade"}, true},
		{[]string{"Upgrade"}, true},
		{[]string{"keep-alive, \tUpgrade ,close"}, true},
		{[]string{"keep-alive", "upgrade"}, true},
		{[]string{"upgrades, no-upgrade, up grade"}, false},
		{[]string{`"upgrade"`}, false},
	} {
		if got := headers.HasItem(c.lists, "upgrade"); got != c.want {
			t.Errorf("HasItem(%q) = %t, want %t", c.lists, got, c.want)
		}
	}
}
