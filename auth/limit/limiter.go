package limit

import (
	"math"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Kind is what sort of request is counted.
type Kind uint8

const (
	Short   Kind = iota // a request with an answer that ends by itself
	Watch               // a watch or a followed log
	Upgrade             // exec, attach, port-forward and the like
	kinds
)

// Limiter counts what one client has under way, and how fast it asks. It may
// be used by any number of goroutines. [New] makes it.
type Limiter struct {
	now  [kinds]atomic.Int64
	most [kinds]atomic.Int64          // 0: any number
	rate atomic.Pointer[rate.Limiter] // nil: any rate
}

// New returns a limiter of a Config that [Config.Validate] has passed.
func New(c Config) *Limiter {
	l := new(Limiter)
	l.Set(c)
	return l
}

// Set changes the limits. What is under way stays, and stays counted, even if
// it is more than is allowed now; nor does a rate begin again with a burst
// when it changes. Of two calls at a time either may be the last.
func (l *Limiter) Set(c Config) {
	for kind, most := range [kinds]int{Short: c.MaxInFlight, Watch: c.MaxWatches, Upgrade: c.MaxUpgrades} {
		l.most[kind].Store(int64(most))
	}
	perSecond := rate.Limit(c.RequestsPerSecond)
	switch current := l.rate.Load(); {
	case perSecond == 0:
		l.rate.Store(nil)
	case current == nil:
		l.rate.Store(rate.NewLimiter(perSecond, c.Burst))
	default:
		current.SetLimit(perSecond)
		current.SetBurst(c.Burst)
	}
}

// Ask takes one request off the rate, or returns *Exceeded. It is for each
// request once, whatever becomes of it: one that is refused later has been one.
func (l *Limiter) Ask() error {
	if r := l.rate.Load(); r != nil && !r.Allow() {
		perSecond := float64(r.Limit())
		return &Exceeded{Limit: requestsPerSecond, Allowed: perSecond, RetryAfter: wait(r.Tokens(), perSecond)}
	}
	return nil
}

// Admit counts a request as under way, until [Limiter.Done] is called, or
// returns *Exceeded and counts nothing. It leaves the rate alone.
func (l *Limiter) Admit(k Kind) error {
	most := l.most[k].Load()
	for {
		now := l.now[k].Load()
		if most > 0 && now >= most {
			return &Exceeded{Limit: concurrency[k].name, Allowed: float64(most), RetryAfter: concurrency[k].retryAfter}
		}
		if l.now[k].CompareAndSwap(now, now+1) {
			return nil
		}
	}
}

// wait is in how many seconds there will be a whole token, at least 1.
func wait(tokens, perSecond float64) int {
	return int(math.Ceil(min(max((1-tokens)/perSecond, 1), maxRetryAfter)))
}

// Done ends what Admit has counted.
func (l *Limiter) Done(k Kind) { l.now[k].Add(-1) }

// Usage is what a client has under way.
type Usage struct{ InFlight, Watches, Upgrades int }

// Usage returns what is under way now.
func (l *Limiter) Usage() Usage {
	return Usage{
		InFlight: int(l.now[Short].Load()),
		Watches:  int(l.now[Watch].Load()),
		Upgrades: int(l.now[Upgrade].Load()),
	}
}
