package balancer

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	equal(t, "defaults", DefaultConfig(), Config{
		Policy:    "sticky",
		SlowStart: 30 * time.Second,
		Breaker: BreakerConfig{
			ConsecutiveFailures: 5, FailureRatio: 0.5, MinRequests: 20,
			Window: 10 * time.Second, OpenFor: 5 * time.Second, MaxOpenFor: 60 * time.Second,
		},
		Retry: RetryConfig{MaxAttempts: 3, Budget: 0.2, MaxBodyBytes: 4194304, HoldWhenAllDown: 2 * time.Second},
	})
}

func TestValidate(t *testing.T) {
	for _, policy := range Policies() {
		c := DefaultConfig()
		c.Policy = policy
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", policy, err)
		}
	}
	wrong := []struct {
		spoil func(c *Config)
		want  string
	}{
		{func(c *Config) { c.Policy = "" }, `policy: "": must be sticky, least-request, round-robin or random`},
		{func(c *Config) { c.SlowStart = -1 }, "slowStart: -1ns: must be 0 or more"},
		{func(c *Config) { c.Breaker.ConsecutiveFailures = 0 }, "breaker.consecutiveFailures: 0: must be 1 or more"},
		{func(c *Config) { c.Breaker.FailureRatio = math.NaN() }, "breaker.failureRatio: NaN: must be above 0 and at most 1"},
		{func(c *Config) { c.Breaker.MinRequests = 0 }, "breaker.minRequests: 0: must be 1 or more"},
		{func(c *Config) { c.Breaker.Window = time.Hour }, "breaker.window: 1h0m0s: must be between 1s and 10m"},
		{func(c *Config) { c.Breaker.OpenFor = 0 }, "breaker.openFor: 0s: must be 1ms or more"},
		{func(c *Config) { c.Breaker.MaxOpenFor = -time.Second }, "breaker.maxOpenFor: -1s: must be openFor or more"},
		{func(c *Config) { c.Retry.MaxAttempts = 0 }, "retry.maxAttempts: 0: must be 1 or more"},
		{func(c *Config) { c.Retry.Budget = 1.1 }, "retry.budget: 1.1: must be between 0 and 1"},
		{func(c *Config) { c.Retry.MaxBodyBytes = -1 }, "retry.maxBodyBytes: -1: must be 0 or more"},
		{func(c *Config) { c.Retry.HoldWhenAllDown = -1 }, "retry.holdWhenAllDown: -1ns: must be 0 or more"},
	}
	all := DefaultConfig()
	var lines []string
	for _, w := range wrong {
		c := DefaultConfig()
		w.spoil(&c)
		w.spoil(&all)
		lines = append(lines, w.want)
		if err := c.Validate(); err == nil || err.Error() != w.want {
			t.Errorf("got %v, want %s", err, w.want)
		}
	}
	if err := all.Validate(); err == nil || err.Error() != strings.Join(lines, "\n") {
		t.Errorf("all at once: %v", err)
	}
}
