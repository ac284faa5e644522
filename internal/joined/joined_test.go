package joined_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kuberelay/kuberelay/internal/joined"
)

// none wraps no error, and has words of its own.
type none struct{}

func (none) Error() string   { return "none" }
func (none) Unwrap() []error { return nil }

func TestErrors(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	wrapped := fmt.Errorf("first: %w", errors.Join(a, b))
	several := fmt.Errorf("%w, after %w", a, b)
	for name, tc := range map[string]struct {
		err  error
		want []error
	}{
		"no error":                          {nil, nil},
		"one error":                         {a, []error{a}},
		"joined errors":                     {errors.Join(a, nil, b), []error{a, b}},
		"joined errors, at any depth":       {errors.Join(errors.Join(a, errors.Join(b)), c), []error{a, b, c}},
		"joined errors with words before":   {wrapped, []error{wrapped}},
		"an error that wraps several":       {several, []error{several}},
		"such an error among joined ones":   {errors.Join(several, c), []error{several, c}},
		"an error that says it wraps none ": {none{}, []error{none{}}},
	} {
		if got := joined.Errors(tc.err); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
