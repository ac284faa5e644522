package proxy

import (
	"context"
	"hash/maphash"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

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
	upgrade          bool // to a protocol that passes
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

// offersUpgrade says whether the client asks for a protocol that passes, at an
// endpoint that uses one. On the subresources of an aggregated API, any may:
// KubeVirt's console and vnc do.
func (x *exchange) offersUpgrade() bool {
	t := x.target
	return upgradeProtocol(x.r) != "" &&
		(t.upgradable() || t.Subresource != "" && x.cluster.Groups.Aggregated(t.Group, t.Version))
}

// serve takes the exchange through identity, forwarding and its record.
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
	if x.upgrade { // see forwardUpgrade: that holds for whatever is answered
		x.w.Header().Set("Connection", "close")
	}
	defer x.unblock()()
	if x.admitted() && x.authenticate() {
		if x.upgrade {
			x.forwardUpgrade()
		} else {
			x.forward()
		}
	}
}

// end takes note of the finished exchange and gives it back.
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

// authenticate gets the credential with which the cluster is called. Without
// one nothing is sent: never anonymous.
func (x *exchange) authenticate() bool {
	lease, err := x.credentials().Lease(x.r.Context())
	if err != nil {
		x.failCredential(err)
		return false
	}
	x.lease = lease
	return true
}

// credentials are the grant's on a shared listener, else the cluster's own.
func (x *exchange) credentials() Credentials {
	if x.caller != nil {
		return x.caller.Grant.Credentials
	}
	return x.cluster.Credentials
}

// leaseFor holds the lease and the upstream to one generation of connection
// parameters: a kubeconfig that was switched to another cluster must not send
// one's credential to the other. A configured credential is bound to the
// cluster by its grant instead.
func (x *exchange) leaseFor(u *Upstream) bool {
	if x.caller != nil {
		return x.leaseNow(u)
	}
	if x.lease.EndpointGeneration() == u.generation {
		return true
	}
	lease, err := x.cluster.Credentials.Lease(x.r.Context())
	if err != nil {
		x.err = err
		return false
	}
	x.lease, x.header = lease, nil
	return lease.EndpointGeneration() == u.generation
}

// leaseNow makes sure that a shared listener's request is sent with the lease of
// now, since it may have been held, and not with one that another cluster of
// the upstream's name has given.
func (x *exchange) leaseNow(u *Upstream) bool {
	lease, err := x.caller.Grant.Credentials.Lease(x.r.Context())
	if err != nil {
		x.err = err
		return false
	}
	if lease != x.lease {
		x.lease, x.header = lease, nil
	}
	if b := lease.Bound(); b.Cluster == u.Cluster && b.Generation != u.generation {
		x.err = errGeneration
		return false
	}
	return true
}

// giveBack gives an attempt back unused.
func (x *exchange) giveBack(a balancer.Attempt[*Upstream]) {
	a.Report(balancer.Neutral)
	a.Done()
}

// skip gives an attempt back unused; after a pause another is picked.
func (x *exchange) skip(a balancer.Attempt[*Upstream]) {
	x.giveBack(a)
	x.tried = append(x.tried, a.ID())
}

// rebuild makes the headers that go upstream.
func (x *exchange) rebuild(scheme string) {
	x.header = make(http.Header, len(x.r.Header)+4)
	x.scheme = scheme
	if x.caller != nil {
		x.rebuildShared(scheme)
		return
	}
	x.injected = auth.Rebuild(x.header, x.r.Header, x.lease, auth.RebuildOptions{
		PeerIP:           peerIP(x.r),
		Upgrade:          x.upgrade,
		DefaultUserAgent: x.cluster.UserAgent,
		SchemeHTTP:       scheme == "http",
	})
	x.header[auditIDHeader] = []string{x.auditID}
	if x.upgrade { // to the one that was looked at, of several that were offered
		x.header["Upgrade"] = []string{upgradeProtocol(x.r)}
	}
}

// prepare fills the upstream request for one attempt.
func (x *exchange) prepare(u *Upstream) {
	if x.header == nil || x.scheme != u.URL.Scheme {
		x.rebuild(u.URL.Scheme)
	}
	target := x.escaped
	if x.h.o.AppendServerPath || x.caller != nil { // kubectl proxy's rule is for single listeners
		target, x.serverPath = u.path+target, u.path
	}
	if x.r.URL.RawQuery != "" || x.r.URL.ForceQuery {
		target += "?" + x.r.URL.RawQuery
	}
	x.request.Method = x.r.Method
	x.request.Target = target
	x.request.Host = u.URL.Host
	x.request.Header = x.header
	x.request.HeaderTimeout = 0
	if x.longRunning {
		x.request.HeaderTimeout = -1
	}
	if !x.upgrade {
		x.request.Interim = x.interim
	}
	if x.body != nil {
		x.request.Body = x.body.reader()
		x.request.ContentLength = x.r.ContentLength
	}
}

// interim passes a 1xx response on, to clients that know such responses.
func (x *exchange) interim(code int, header http.Header) {
	if !x.r.ProtoAtLeast(1, 1) {
		return
	}
	h := x.w.Header()
	copyHeader(h, header)
	x.w.WriteHeader(code)
	clear(h)
}

// hints passes the 1xx responses to an HTTP/2 request on. They come on the
// goroutine that reads the connection, which may be at one when the attempt,
// and with it the exchange, has ended.
type hints struct {
	mu    sync.Mutex
	x     *exchange
	ended bool // guarded by mu
}

// pass is httptrace.ClientTrace.Got1xxResponse.
func (h *hints) pass(code int, header textproto.MIMEHeader) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended {
		h.x.interim(code, http.Header(header))
	}
	return nil
}

func (h *hints) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}

// payloadSize is the largest body that is read before the first attempt, so
// that head and body go out in one write.
const payloadSize = 16 << 10

// readBody reads a small body whole and prepares a larger one for replay. It
// reports false when the client broke off.
func (x *exchange) readBody() bool {
	if x.r.Body == nil || x.r.Body == http.NoBody || x.r.ContentLength == 0 {
		return true
	}
	if n := x.r.ContentLength; n > 0 && n <= payloadSize {
		payload := make([]byte, n)
		if _, err := io.ReadFull(x.r.Body, payload); err != nil {
			if ended := endedBy(x.r.Context()); ended != nil {
				x.fail(answerEnded(ended), ended)
				return false
			}
			x.fail(answerBadRequest("the request's body could not be read: "+err.Error()), err)
			return false
		}
		x.request.Payload = payload
		return true
	}
	x.body = newReplayBody(x.r.Body, x.cluster.Retry.MaxBodyBytes)
	// An answer may come before the body's end (413, 401): it must not wait
	// until the server has read that. On error the connection is not HTTP/1.
	_ = http.NewResponseController(x.w).EnableFullDuplex()
	return true
}

func (x *exchange) rewindable() bool { return x.body == nil || x.body.rewindable() }

// key is the identity that the balancer binds to an upstream: everyone who
// uses the listener's credential is one, a client with a credential of its
// own is another.
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
		x.code = a.code
	} // else, without an answer, net/http would send 200
	a.write(x.w, x.auditID)
}

func (x *exchange) record() Record {
	rec := Record{
		Listener:  x.h.o.Listener,
		Cluster:   x.cluster.Name,
		Client:    x.r.RemoteAddr,
		Method:    x.r.Method,
		Path:      x.decoded,
		Target:    x.target,
		Code:      x.code,
		Upstream:  x.upstream,
		Attempts:  x.attempts,
		Bytes:     x.bytes,
		Start:     x.start,
		Duration:  time.Since(x.start),
		AuditID:   x.auditID,
		UserAgent: x.r.UserAgent(),
		Upgrade:   x.upgrade,
		Err:       x.err,
	}
	if x.caller != nil {
		rec.Caller, rec.CloseReason, rec.Refused = x.caller, x.closeReason(), x.refusal
	}
	if x.target.IsResource {
		rec.Group, rec.Resource = x.cluster.Groups.Lookup(x.target.Group, x.target.Resource)
	}
	return rec
}

// observe tells health what an attempt showed.
func (x *exchange) observe(u *Upstream, v verdict, err error) {
	if v.observe == ObserveNothing || x.cluster.Hooks.Observe == nil {
		return
	}
	x.cluster.Hooks.Observe(u.ID, v.observe, err)
}

func (x *exchange) countAttempt(u *Upstream, v verdict, firstByte time.Duration) {
	if f := x.cluster.Hooks.Attempt; f != nil {
		f(u.ID, v.outcome, firstByte)
	}
}

func (x *exchange) countRetry(v verdict) {
	if f := x.cluster.Hooks.Retry; f != nil {
		f(v.outcome)
	}
}

// upgradeProtocol returns the protocol to which the client asks to switch, if
// it is one that the Kubernetes API uses: websocket or SPDY/3.1. An offer of
// anything else, as curl makes with h2c, is none, and neither is one in
// HTTP/1.0 (RFC 9110, section 7.8).
func upgradeProtocol(r *http.Request) string {
	if len(r.Header["Upgrade"]) == 0 || !r.ProtoAtLeast(1, 1) || !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	for _, offers := range r.Header["Upgrade"] {
		for offer := range strings.SplitSeq(offers, ",") {
			switch offer = strings.TrimSpace(offer); {
			case strings.EqualFold(offer, "websocket"), strings.EqualFold(offer, "SPDY/3.1"):
				return offer
			}
		}
	}
	return ""
}

// watchURL is the request's URL at the upstream, for net/http.
func (x *exchange) watchURL(u *Upstream) *url.URL {
	target, query, force := strings.Cut(x.request.Target, "?")
	decoded, err := url.PathUnescape(target)
	if err != nil {
		decoded = target
	}
	return &url.URL{
		Scheme: u.URL.Scheme, Host: u.URL.Host,
		Path: decoded, RawPath: target, RawQuery: query, ForceQuery: force && query == "",
	}
}

// attemptContext is one attempt's: it ends with the client's, and its cause
// says who else ended it.
func (x *exchange) attemptContext() (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(x.r.Context())
}

func (x *exchange) log(msg string, fields ...zap.Field) {
	if ce := x.h.o.Log.Check(zap.DebugLevel, msg); ce != nil {
		ce.Write(append(fields, zap.String("cluster", x.cluster.Name), zap.String("audit-id", x.auditID))...)
	}
}
