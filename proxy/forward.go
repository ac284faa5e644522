package proxy

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/kuberelay/kuberelay/balancer"
)

// forward sends the request, again where the outcome table allows it, and
// streams the answer.
func (x *exchange) forward() {
	if !x.readBody() {
		return
	}
	if x.body != nil {
		defer x.body.release()
	}
	x.try()
}

// attemptRequest makes an attempt of a request that is no upgrade.
func (x *exchange) attemptRequest(ctx context.Context, a balancer.Attempt[*Upstream]) (next choice, more bool) {
	u := a.Value()
	sent := time.Now()
	resp, err := x.send(ctx, u)
	v := x.judge(ctx, u, resp, err, sent)
	if next, more = x.again(a, v, resp, err); more {
		return next, true
	}
	if err != nil || x.hides(v) {
		a.Report(v.breaker)
		discard(resp)
		x.failAttempt(v, err)
		return choice{}, false
	}
	// A stream's verdict is in its headers; a short request's when its body
	// has come whole.
	if x.longRunning {
		a.Report(v.breaker)
	}
	lost := x.stream(ctx, resp)
	if lost != nil {
		x.traceVerdict(verdictLost, nil)
	}
	switch {
	case x.longRunning:
	case lost == nil:
		a.Report(v.breaker)
	case x.aggregated(): // whose answer the API server breaks off when its own source does
		a.Report(balancer.Neutral)
	default:
		a.Report(balancer.Failure)
		x.observe(u, verdictLost, lost)
	}
	return choice{}, false
}

// send makes one attempt over the connections for its kind.
func (x *exchange) send(ctx context.Context, u *Upstream) (*http.Response, error) {
	// A watch under the client's own credential stays off the shared HTTP/2
	// connections: the API server closes such a connection after a 401.
	bodiless := x.body == nil && x.request.Payload == nil
	to := x.connections(u)
	if x.target.Verb != "watch" || !x.injected || x.r.Method != http.MethodGet || !bodiless {
		return to.http1.Do(ctx, &x.request)
	}
	req := &http.Request{
		Method: x.r.Method, URL: x.watchURL(u), Host: x.request.Host, Header: x.header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	h := hints{x: x}
	defer h.end()
	return to.http2.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: h.pass})))
}

// connections are those to an upstream that the lease may be sent over.
func (x *exchange) connections(u *Upstream) *connections {
	if x.caller != nil {
		return u.connectionsFor(x.lease)
	}
	return u.own
}

// aggregated reports whether another server stands behind the path's group.
func (x *exchange) aggregated() bool {
	return x.cluster.Groups.Aggregated(x.target.Group, x.target.Version)
}

// unavailableGroup recognises the aggregator's own answer for a group whose
// server is away; a core or CRD path never gets it.
func (x *exchange) unavailableGroup(resp *http.Response) bool {
	return x.target.Group != "" && resp.Header.Get("Content-Type") == "text/plain; charset=utf-8" &&
		bytes.HasPrefix(peekBody(resp), []byte("service unavailable"))
}
