package proxy

import (
	"context"
	"net/http"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/balancer"
)

// Credentials hand out the leases of one credential. They are safe for
// concurrent use.
type Credentials interface {
	// Lease returns a valid lease. It waits only where there is none.
	Lease(ctx context.Context) (*auth.Lease, error)
	// Refused returns another lease after an upstream answered 401 to l, or
	// an error when nothing newer can be had.
	Refused(ctx context.Context, l *auth.Lease) (*auth.Lease, error)
}

// Groups know which API groups a cluster serves. They are safe for concurrent
// use.
type Groups interface {
	// Lookup returns a group and a resource as metric labels: "other" for what
	// the cluster does not serve.
	Lookup(group, resource string) (groupLabel, resourceLabel string)
	// Aggregated reports whether another server stands behind the group version.
	Aggregated(group, version string) bool
	// Learn notes that another server stands behind the group version.
	Learn(group, version string)
}

// Cluster is what the data path needs of one cluster.
type Cluster struct {
	Name string
	// Pool has the cluster's upstreams. Required.
	Pool *balancer.Pool[*Upstream]
	// Retry is that of the configuration that Pool was made with.
	Retry balancer.RetryConfig
	// Credentials are the cluster's own. Required; requests of shared listeners
	// are sent with their grant's instead.
	Credentials Credentials
	// Groups are required.
	Groups Groups
	// UserAgent is sent for clients that name none.
	UserAgent string
	Hooks     Hooks
}

// Hooks are told what the data path learns. All are called on the request's
// goroutine and must not block; each may be nil.
type Hooks struct {
	// Observe hears what an attempt shows about an upstream's health.
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
	Code              int    // 0: the client left before an answer; see [StatusClientClosed]
	Upstream          string // the last one tried
	Attempts          int
	Bytes             int64 // of the API server's response body
	Duration          time.Duration
	AuditID           string
	UserAgent         string
	Err               error // why an answer is ours or was cut short

	Caller      *Caller     // of a shared listener; nil: of a single one
	CloseReason CloseReason // who ended it from outside; "": nobody
	Refused     Refused     // why it was not sent, after it had passed the gates
}

// StatusClientClosed stands for "the client left before the answer" in metrics,
// logs and audit events. Nobody is sent it.
//
// Source: nginx, ngx_http_request.h, NGX_HTTP_CLIENT_CLOSED_REQUEST.
const StatusClientClosed = 499

// Refused is why a request that passed the gates was not sent.
type Refused uint8

// The reasons.
const (
	RefusedNot        Refused = iota // it was sent
	RefusedCredential                // the credential could not be had, or the API server refused it
	RefusedAudit                     // its audit event could not be written
)

// Denial is a request that was refused at the gates. It has no [Record].
type Denial struct {
	Reason string // one of admin's Denied constants
	Code   int
	Client string // "": not known
	Cause  string // what the client was told
	Err    error  // what is not for the client, but for the operator; often nil
}

// Recorder takes note of requests. Its methods are called on the requests'
// goroutines, many at a time, and must not block.
type Recorder interface {
	// Begin and End bracket a request to a cluster; a stream's kind is "watch",
	// "log" or "upgrade", a short request's "".
	Begin(cluster, kind string)
	End(kind string, r *Record)
	// Denied hears what the gates refused.
	Denied(r *http.Request, d Denial)
}
