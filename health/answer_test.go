package health

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFailedChecks(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       []string
	}{
		{"of an API server", redBody, []string{"etcd", "poststarthook/rbac/bootstrap-roles"}},
		{"none", "ok", nil},
		{"of a log injection", "[-]etcd\x1b[31m failed: x\n[-]a\rb failed: y\n[-]ok failed: z", []string{"ok"}},
		{"without a word after the name", "[-]etcd\n", nil},
		{"not at the line's start", "x[-]etcd failed: x\n", nil},
		{"of an endless name", "[-]" + strings.Repeat("a", 101) + " failed\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, failedChecks([]byte(test.body))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzFailedChecks(f *testing.F) {
	f.Add([]byte(redBody))
	f.Add([]byte("[-] failed\n[-]\n[-]a b"))
	f.Add([]byte(strings.Repeat("[-]x failed\n", 100)))
	f.Fuzz(func(t *testing.T, body []byte) {
		names := failedChecks(body)
		if len(names) > maxChecks {
			t.Errorf("%d names", len(names))
		}
		for _, n := range names {
			if n == "" || len(n) > maxCheckName || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("name %q", n)
			}
			if !strings.Contains(string(body), "[-]"+n+" ") {
				t.Errorf("%q is not in the body", n)
			}
		}
	})
}
