package daemon

import (
	"strconv"
	"testing"
	"time"
)

func TestCauseIsLoggedOnceInAWhile(t *testing.T) {
	var c causes
	now := time.Now()
	for _, step := range []struct {
		after time.Duration
		cause string
		want  bool
	}{
		{0, "the issuer is away", true},
		{time.Second, "the issuer is away", false},
		{time.Second, "SO_PEERCRED", true},
		{causeInterval - 1, "the issuer is away", false},
		{causeInterval, "the issuer is away", true},
		{causeInterval, "SO_PEERCRED", false},
	} {
		if got := c.due(step.cause, now.Add(step.after)); got != step.want {
			t.Errorf("%q after %v: logged %t, want %t", step.cause, step.after, got, step.want)
		}
	}
}

func TestCausesAreBounded(t *testing.T) {
	var c causes
	now := time.Now()
	lines := 0
	for i := range 10 * maxCauses {
		if c.due(strconv.Itoa(i), now) {
			lines++
		}
	}
	if lines != maxCauses || len(c.logged) != maxCauses {
		t.Errorf("%d lines and %d causes remembered, want %d", lines, len(c.logged), maxCauses)
	}
	if !c.due("later", now.Add(causeInterval)) || len(c.logged) != 1 {
		t.Errorf("after a while %d causes are remembered, want one, and it logged", len(c.logged))
	}
}
