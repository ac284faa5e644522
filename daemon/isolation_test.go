package daemon

import (
	"fmt"
	"testing"
	"time"
)

func TestIsolationIsSaidWhenItLasts(t *testing.T) {
	var seen isolation
	start := time.Now()
	for _, c := range []struct {
		after     time.Duration
		upstreams []string
		lasting   string
		changed   bool
	}{
		{0, nil, "[]", false},
		{1 * time.Second, []string{"a"}, "[]", false},
		{5 * time.Second, []string{"a", "b"}, "[]", false},
		{5500 * time.Millisecond, []string{"b"}, "[]", false}, // a died, and peers know it, too
		{9 * time.Second, []string{"b", "a"}, "[]", false},
		{10 * time.Second, []string{"b", "a"}, "[b]", true},
		{13 * time.Second, []string{"b", "a"}, "[b]", false},
		{14 * time.Second, []string{"b", "a"}, "[a b]", true},
		{15 * time.Second, []string{"a"}, "[a]", true},
		{16 * time.Second, nil, "[]", true},
		{17 * time.Second, nil, "[]", false},
	} {
		lasting, changed := seen.look(start.Add(c.after), c.upstreams)
		if fmt.Sprint(lasting) != c.lasting || changed != c.changed {
			t.Errorf("after %v: %v, changed %v, want %s, %v", c.after, lasting, changed, c.lasting, c.changed)
		}
	}
}
