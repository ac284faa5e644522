package program_test

import (
	"io"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/internal/program"
)

func TestOutputIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		output   program.Output
		written  []string
		want     string
		exceeded bool
		fails    bool
	}{
		"less than the limit":             {program.Output{Limit: 8}, []string{"abc", "def"}, "abcdef", false, false},
		"as much as the limit":            {program.Output{Limit: 6}, []string{"abc", "def"}, "abcdef", false, false},
		"more than the limit":             {program.Output{Limit: 4}, []string{"abc", "def"}, "abcd", true, true},
		"more than the limit, discarded":  {program.Output{Limit: 4, Discard: true}, []string{"abc", "def", "ghi"}, "abcd", true, false},
		"nothing where nothing is wanted": {program.Output{}, []string{""}, "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			failed := false
			for _, text := range c.written {
				if n, err := io.Copy(&c.output, strings.NewReader(text)); err != nil {
					failed = true
				} else if int(n) != len(text) {
					t.Errorf("%d bytes of %q were taken", n, text)
				}
			}
			if got := string(c.output.Bytes()); got != c.want || c.output.Exceeded() != c.exceeded || failed != c.fails {
				t.Errorf("kept %q, exceeded %t, failed %t, want %q, %t, %t", got, c.output.Exceeded(), failed, c.want, c.exceeded, c.fails)
			}
		})
	}
}
