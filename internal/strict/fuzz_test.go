package strict_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/kuberelay/kuberelay/internal/strict"
)

// What decodes means what it says: written again, it decodes to the same.
// Whatever does not has a problem in the document, and nothing panics.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		everything, "", "a", "- a", "title: [", "title: &a *a", "<<: {a: b}", "? ? a", "env: {1: 2}", "mode: 0777",
		"wait: 1.5h1ns", "until: 0000-01-01T00:00:00Z", "title: \"\\u0000\\xff\"", "title: |\n  a\n\n", "%YAML 1.1\n---\ntitle: a\n...\n",
		"dishes: [{more: [{more: [{}]}]}]", "\ttitle: a", "title: 'a\n\n b'", "\xff\xfet\x00:\x00 \x00a\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, again menu
		document, err := strict.Decode(data, &first)
		if err != nil {
			var problems strict.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want Problems", err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.Err == nil {
					t.Errorf("problem without a place: %+v", p)
				}
				document.Position(p.Path)
			}
			return
		}
		// Siblings are a notion of this package: the other encoder writes
		// them where they stand in Go.
		beside := struct {
			menu `yaml:",inline"`
			Sink sink `yaml:"sink,omitempty"`
		}{menu: first, Sink: first.Kitchen.Sink}
		beside.Kitchen.Sink = sink{}
		written, err := yaml.Marshal(beside)
		if err != nil {
			t.Fatalf("%+v cannot be written: %v", first, err)
		}
		if _, err := strict.Decode(written, &again); err != nil {
			t.Fatalf("%q was written as\n%s\nwhich has problems: %v", data, written, err)
		}
		if d := cmp.Diff(first, again, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%q was written as\n%s\nwhich is different (-first +again):\n%s", data, written, d)
		}
	})
}
