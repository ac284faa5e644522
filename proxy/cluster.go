package proxy

import (
	"context"
	"net/http"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/balancer"
)

// Credentials hand out the lease that requests are injected with.
type Credentials interface {
	// Lease returns a valid lease, at once when there is one.
	Lease(ctx context.Context) (*auth.Lease, error)
	// Refused returns another lease after an upstream answered 401 to l, or
	// an error when nothing newer can be had.
	Refused(ctx context.Context, l *auth.Lease) (*auth.Lease, error)
}

// Groups know what a cluster serves.
type Groups interface {
	// Lookup bounds metric labels: what the cluster does not serve is "other".
	Lookup(group, resource string) (groupLabel, resourceLabel string)
	// Aggregated says whether another server stands behind the group version.
	Aggregated(group, version string) bool
	// Learn notes that one does.
	Learn(group, version string)
}

// Cluster is what the data path needs of one cluster.
type Cluster struct {
	Name        string
	Pool        *balancer.Pool[*Upstream]
	Retry       balancer.RetryConfig
	Credentials Credentials
	Groups      Groups
	// UserAgent is sent for clients that name none.
	UserAgent string
	Hooks     Hooks
}

// Hooks are how the data path tells what it learns. All are called on the
// request's goroutine and must not block; each may be nil.
type Hooks struct {
	// Observe hears what an attempt tells about an upstream's health.
	Observe func(upstream string, o Observation, err error)
	// NoUpstream hears that a request finds no upstream left to try.
	NoUpstream func()
	// Outlook says, for people, why no upstream can be used, and whether
	// waiting or coming back soon may help.
	Outlook func() (why string, wait, retry bool)
	// Attempt hears each attempt's outcome, and the time to response
	// headers where they came (else negative).
	Attempt func(upstream, outcome string, firstByte time.Duration)
	// Retry hears why a request is sent to another upstream.
	Retry func(reason string)
	// BudgetExhausted hears that a retry was not made for lack of budget.
	BudgetExhausted func()
}

// Record is one finished request, for metrics and the access log.
type Record struct {
	Listener, Cluster string
	Client            string // peer address; "" on a unix socket
	Method            string
	Path              string // decoded; without the query, which may hold secrets
	Target            Target
	Group, Resource   string // bounded for metric labels
	Code              int    // 0: the client left before an answer
	Upstream          string // the last one tried
	Attempts          int
	Bytes             int64 // of the API server's response body
	Start             time.Time
	Duration          time.Duration
	AuditID           string
	UserAgent         string
	Upgrade           bool
	Err               error // why an answer is ours or was cut short
}

// Recorder takes note of requests. Its methods are called on the request's
// goroutine and must not block.
type Recorder interface {
	// Begin and End bracket a request; a stream's kind is "watch", "log" or
	// "upgrade", a short request's "".
	Begin(kind string)
	End(kind string, r *Record)
	// Denied hears what the gates refused, and with which status. Nothing
	// else is heard of such a request. The reason is "host", "path", "method"
	// or "cross_site".
	Denied(r *http.Request, reason string, code int)
}
