package proxy

import (
	"context"
	"hash/maphash"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// exchange is one request on its way, over all its attempts.
type exchange struct {
	h       *Handler
	cluster *Cluster
	w       http.ResponseWriter
	r       *http.Request
	start   time.Time

	decoded, escaped string // path after the prefix
	target           Target
	kind             balancer.Kind
	upgrade          bool // the client asks for a protocol that is tunnelled
	longRunning      bool

	lease     *auth.Lease
	injected  bool // the lease's credential was used, not the client's own
	refreshed bool // a refused credential was replaced once
	header    http.Header
	scheme    string // that header was built for
	// serverPath is the path of the upstream's URL, which clients do not see.
	serverPath string
	auditID    string
	request    h1.Request
	body       *replayBody // nil: none, or request.Payload

	caller    *Caller // of a shared listener; nil: of a single one
	flight    Flight
	tried     []string
	triedBuf  [4]string
	attempts  int
	charged   int // retries that count
	holdTill  time.Time
	uncertain bool // an attempt may have been processed

	upstream string
	code     int
	bytes    int64
	streamed bool        // the answer's body, or a tunnel, has begun
	closedBy CloseReason // the side that ended a tunnel
	refusal  Refused
	given    answer // in the upstream's place; zero: none
	err      error
	spans    spans
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func newExchange(h *Handler, cluster *Cluster, w http.ResponseWriter, r *http.Request, decoded, escaped string, start time.Time) *exchange {
	x := exchanges.Get().(*exchange)
	x.h, x.cluster, x.w, x.r, x.start = h, cluster, w, r, start
	x.decoded, x.escaped = decoded, escaped
	x.tried = x.triedBuf[:0]
	x.target = ParseTarget(r.Method, decoded, r.URL.RawQuery)
	x.upgrade = x.offersUpgrade()
	x.kind = x.target.kind(r.Method, r.URL.RawQuery, x.upgrade)
	x.longRunning = x.upgrade || x.target.LongRunning()
	return x
}

// offersUpgrade reports whether the client asks for a protocol that is tunnelled,
// at an endpoint that uses one. Any subresource of an aggregated API may:
// KubeVirt's console and vnc do.
func (x *exchange) offersUpgrade() bool {
	t := x.target
	return upgradeProtocol(x.r) != "" &&
		(t.upgradable() || t.Subresource != "" && x.cluster.Groups.Aggregated(t.Group, t.Version))
}

// serve takes the exchange through its credential, forwarding and its record.
func (x *exchange) serve() {
	streamKind := x.streamKind()
	x.h.o.Recorder.Begin(x.cluster.Name, streamKind)
	x.flight.kind, x.flight.owner, x.flight.cluster = streamKind, x.h.o.Owner, x.cluster
	x.h.o.Registry.Add(&x.flight)
	defer x.end(streamKind) // net/http survives a panic

	if x.auditID == "" {
		x.auditID = auditID(x.r)
	}
	x.traceRequest()
	if x.upgrade { // of any answer but 101: see forwardUpgrade
		x.w.Header().Set("Connection", "close")
	}
	defer x.unblock()()
	if x.admitted() && x.acquireLease() {
		if x.upgrade {
			x.forwardUpgrade()
		} else {
			x.forward()
		}
	}
}

// end records the finished exchange and returns it to the pool.
func (x *exchange) end(streamKind string) {
	x.flight.End()
	record := x.record()
	x.auditComplete(&record)
	x.endTraceRequest()
	x.h.o.Recorder.End(streamKind, &record)
	if x.body != nil {
		return // an attempt that was left behind may still read it
	}
	*x = exchange{}
	exchanges.Put(x)
}

// streamKind is the label under which a stream is counted; "" for a short
// request.
func (x *exchange) streamKind() string {
	switch {
	case x.upgrade:
		return "upgrade"
	case x.target.Verb == "watch":
		return "watch"
	case x.kind == balancer.Watch:
		return "log"
	}
	return ""
}

// giveBack gives an attempt back unused.
func (x *exchange) giveBack(a balancer.Attempt[*Upstream]) {
	a.Report(balancer.Neutral)
	a.Done()
}

// skip gives an attempt back unused. Its upstream counts as tried, so that it is
// picked again only after a pause.
func (x *exchange) skip(a balancer.Attempt[*Upstream]) {
	x.giveBack(a)
	x.tried = append(x.tried, a.ID())
}

// key is the identity that the balancer binds to an upstream: on a shared
// listener the client. On a single one, everyone who uses the listener's
// credential is one identity, and a client with a credential of its own another.
func (x *exchange) key() string {
	if x.caller != nil {
		return x.caller.Client.Name
	}
	own := x.r.Header.Get("Authorization")
	if own == "" {
		return x.h.o.Listener
	}
	return strconv.FormatUint(maphash.String(keySeed, own), 16)
}

var keySeed = maphash.MakeSeed()

// fail answers in the upstream's place.
func (x *exchange) fail(a answer, err error) {
	x.err = err
	if !x.clientLeft() {
		x.code, x.given = a.code, a
	} // else, without an answer, net/http would send 200
	a.write(x.w, x.auditID)
}

// attemptContext returns the context of one attempt. It ends with that of the
// request; if it is cancelled, its cause says by whom.
func (x *exchange) attemptContext() (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(x.r.Context())
}

func (x *exchange) log(msg string, fields ...zap.Field) {
	if ce := x.h.o.Log.Check(zap.DebugLevel, msg); ce != nil {
		ce.Write(append(fields, zap.String("cluster", x.cluster.Name), zap.String("audit-id", x.auditID))...)
	}
}
