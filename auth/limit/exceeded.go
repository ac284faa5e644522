package limit

import "fmt"

// Exceeded says which limit a request would have gone beyond. It is answered
// with 429 and Retry-After.
type Exceeded struct {
	// Limit is the limit's name in the configuration.
	Limit string
	// Allowed is its value: a number, or requests a second.
	Allowed float64
	// RetryAfter is in how many seconds to try again, 1 or more.
	RetryAfter int
}

const requestsPerSecond = "requestsPerSecond"

// maxRetryAfter bounds, in seconds, how long a client is sent away for.
const maxRetryAfter = 60

// concurrency is what the limits on how many there are at a time are called.
// A short request is over soon; when a stream is, nobody knows.
var concurrency = [kinds]struct {
	name, text string
	retryAfter int
}{
	Short:   {"maxInFlight", "requests in flight", 1},
	Watch:   {"maxWatches", "watches and followed logs", 5},
	Upgrade: {"maxUpgrades", "upgraded connections", 5},
}

func (e *Exceeded) Error() string {
	text := "requests a second"
	for _, c := range concurrency {
		if c.name == e.Limit {
			text = c.text
		}
	}
	return fmt.Sprintf("client over its limit of %g %s; try again in %d s, or ask for a higher %s", e.Allowed, text, e.RetryAfter, e.Limit)
}
