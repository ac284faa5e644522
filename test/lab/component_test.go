package lab

import "testing"

func TestLastLines(t *testing.T) {
	if got, want := lastLines([]byte("a\nb\nc\n"), 2), "\tb\n\tc"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := lastLines([]byte("a\n"), 2), "\ta"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
