package balancer

import (
	"errors"
	"fmt"
	"time"
)

// Policy is how an upstream is chosen from those of the best class.
type Policy string

// The policies.
const (
	// PolicySticky keeps an identity on one upstream, chosen by power of two
	// choices, and lets only what may move spill over to others.
	PolicySticky Policy = "sticky"
	// PolicyLeastRequest chooses the less loaded of two for each request.
	PolicyLeastRequest Policy = "least-request"
	// PolicyRoundRobin takes turns.
	PolicyRoundRobin Policy = "round-robin"
	// PolicyRandom chooses by chance.
	PolicyRandom Policy = "random"
)

// Policies lists every policy, the default first.
func Policies() []Policy {
	return []Policy{PolicySticky, PolicyLeastRequest, PolicyRoundRobin, PolicyRandom}
}

// Config is how one cluster's pool chooses, breaks and retries.
type Config struct {
	// Policy chooses among the upstreams of the best class. Default sticky.
	Policy Policy `yaml:"policy"`
	// SlowStart is how long an upstream that was DOWN gets less than its
	// share: a tenth at first, growing evenly. Default 30 s; 0: none.
	SlowStart time.Duration `yaml:"slowStart"`
	// Breaker is when an upstream is left alone. It is a section of its own
	// in the configuration file, beside balancer.
	Breaker BreakerConfig `yaml:"breaker" strict:"sibling"`
	// Retry is what is sent again. It is a section of its own in the
	// configuration file, beside balancer.
	Retry RetryConfig `yaml:"retry" strict:"sibling"`
}

// BreakerConfig is when an upstream's circuit breaker opens, and for how long.
type BreakerConfig struct {
	// ConsecutiveFailures is how many failures in a row open it. Default 5.
	ConsecutiveFailures uint32 `yaml:"consecutiveFailures"`
	// FailureRatio is the share of failures that opens it, of at least
	// MinRequests within Window. Default 0.5 of 20 in 10 s. Window is rounded
	// up to whole seconds; older failures are forgotten, those in a row too.
	FailureRatio float64       `yaml:"failureRatio"`
	MinRequests  uint32        `yaml:"minRequests"`
	Window       time.Duration `yaml:"window"`
	// OpenFor is how long it stays open the first time, ± 20 %. It doubles
	// with each failed probe after that, and each time that the breaker opens
	// again within MaxOpenFor of closing, up to MaxOpenFor, ± 20 %. Default
	// 5 s and 60 s.
	OpenFor    time.Duration `yaml:"openFor"`
	MaxOpenFor time.Duration `yaml:"maxOpenFor"`
}

// RetryConfig bounds what is sent again. Whatever it says, nothing is sent again
// later than 10 s after the request's arrival.
type RetryConfig struct {
	// MaxAttempts is how often a request is sent at most, the first time
	// included. Default 3.
	MaxAttempts int `yaml:"maxAttempts"`
	// Budget is the share of the requests of the last 10 s that may be
	// retries, beside 3 a second that are always allowed. Default 0.2.
	Budget float64 `yaml:"budget"`
	// MaxBodyBytes is the largest request body that is kept for a retry.
	// Bodies of all requests take 256 MiB at most; what is larger, or finds no
	// room, is streamed and not sent again. Default 4 MiB.
	MaxBodyBytes int64 `yaml:"maxBodyBytes"`
	// HoldWhenAllDown is how long a request waits for an upstream when there
	// is none. Default 2 s.
	HoldWhenAllDown time.Duration `yaml:"holdWhenAllDown"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Policy:    PolicySticky,
		SlowStart: 30 * time.Second,
		Breaker: BreakerConfig{
			ConsecutiveFailures: 5, FailureRatio: 0.5, MinRequests: 20,
			Window: 10 * time.Second, OpenFor: 5 * time.Second, MaxOpenFor: time.Minute,
		},
		Retry: RetryConfig{MaxAttempts: 3, Budget: 0.2, MaxBodyBytes: 4 << 20, HoldWhenAllDown: 2 * time.Second},
	}
}

// Validate reports every field that is out of range.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, field string, value any, want string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %v: must be %s", field, value, want))
		}
	}
	known := false
	for _, p := range Policies() {
		known = known || c.Policy == p
	}
	check(known, "policy", fmt.Sprintf("%q", c.Policy), "sticky, least-request, round-robin or random")
	check(c.SlowStart >= 0, "slowStart", c.SlowStart, "0 or more")
	b := c.Breaker
	check(b.ConsecutiveFailures > 0, "breaker.consecutiveFailures", b.ConsecutiveFailures, "1 or more")
	check(b.FailureRatio > 0 && b.FailureRatio <= 1, "breaker.failureRatio", b.FailureRatio, "above 0 and at most 1")
	check(b.MinRequests > 0, "breaker.minRequests", b.MinRequests, "1 or more")
	check(b.Window >= time.Second && b.Window <= 10*time.Minute, "breaker.window", b.Window, "between 1s and 10m")
	check(b.OpenFor >= time.Millisecond, "breaker.openFor", b.OpenFor, "1ms or more")
	check(b.MaxOpenFor >= b.OpenFor, "breaker.maxOpenFor", b.MaxOpenFor, "openFor or more")
	r := c.Retry
	check(r.MaxAttempts > 0, "retry.maxAttempts", r.MaxAttempts, "1 or more")
	check(r.Budget >= 0 && r.Budget <= 1, "retry.budget", r.Budget, "between 0 and 1")
	check(r.MaxBodyBytes >= 0, "retry.maxBodyBytes", r.MaxBodyBytes, "0 or more")
	check(r.HoldWhenAllDown >= 0, "retry.holdWhenAllDown", r.HoldWhenAllDown, "0 or more")
	return errors.Join(errs...)
}
