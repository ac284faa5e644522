package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

func TestReport(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	for _, tc := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"nothing", nil, 0, ""},
		{"one error", a, 1, "error: a\n"},
		{"one that says so itself", errors.New("error: a"), 1, "error: a\n"},
		{"joined errors, at any depth", errors.Join(a, errors.Join(b, a)), 1, "error: a\nerror: b\nerror: a\n"},
		{"an error that wraps two", fmt.Errorf("%w, after %w", a, b), 1, "error: a, after b\n"},
		{"client-go's aggregate of one", utilerrors.NewAggregate([]error{a}), 1, "error: a\n"},
		{"a URL that cannot be parsed", &url.Error{Op: "parse", URL: "x", Err: a}, 1, "Unable to connect to the server: a\n"},
		{"a request that failed", &url.Error{Op: "Get", URL: "https://h", Err: a}, 1, "error: Get \"https://h\": a\n"},
		{"a second signal", interrupted{syscall.SIGINT}, 130, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var w strings.Builder
			if code := report(&w, tc.err); code != tc.code || w.String() != tc.want {
				t.Errorf("report(%v) = %d, %q, want %d, %q", tc.err, code, w.String(), tc.code, tc.want)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	for _, tc := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""},
		{"one two three", 7, "one two|three"},
		{"one  two", 80, "one two"},
		{"a-word-that-is-too-long ends", 5, "a-word-that-is-too-long|ends"},
	} {
		if got := strings.Join(wrap(tc.text, tc.width), "|"); got != tc.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", tc.text, tc.width, got, tc.want)
		}
	}
}
