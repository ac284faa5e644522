package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// retryWindow is how long after its arrival a request may still be sent to
// another upstream.
const retryWindow = 10 * time.Second

// forward sends the request, again where the outcome table allows it, and
// streams the answer.
func (x *exchange) forward() {
	if !x.readBody() {
		return
	}
	if x.body != nil {
		defer x.body.release()
	}
	x.try(x.attempt)
}

// try makes attempts, on one upstream after the other, until one answers the
// client or there is none left to hold out for.
func (x *exchange) try(attempt func(balancer.Attempt[*Upstream]) (next choice, more bool)) {
	a, ok := x.pick()
	for {
		if !ok {
			if a, ok = x.hold(); !ok {
				x.giveUp()
				return
			}
		}
		next, more := attempt(a)
		if !more {
			return
		}
		a, ok = next.attempt, next.ok
	}
}

// choice is the upstream for the next attempt, if one was found.
type choice struct {
	attempt balancer.Attempt[*Upstream]
	ok      bool
}

// attempt sends the request to one upstream. It answers the client and
// reports false, or returns the next choice.
func (x *exchange) attempt(a balancer.Attempt[*Upstream]) (next choice, more bool) {
	u := a.Value()
	if !x.leaseFor(u) {
		x.skip(a)
		return choice{}, true
	}
	if x.inTheClear(u) {
		x.giveBack(a)
		return choice{}, false
	}
	x.attempts++
	x.upstream = u.ID
	ctx, cancel := x.attemptContext()
	defer cancel(nil)
	x.prepare(u)
	x.flight.attempt(u, x.safe() && x.rewindable(), cancel)
	defer x.flight.idle()
	defer a.Done()
	if why := x.h.retired.Load(); why != nil && x.caller == nil {
		a.Report(balancer.Neutral)
		x.fail(answerEnded(why), why)
		return choice{}, false
	}

	x.traceAttempt(u)
	defer x.endTraceAttempt()
	sent := time.Now()
	resp, err := x.send(ctx, u)
	var v verdict
	firstByte := time.Duration(-1)
	if err != nil {
		v = judgeError(ctx, err)
	} else {
		firstByte = time.Since(sent)
		v = judgeResponse(x.target, x.aggregated(), resp)
		if resp.StatusCode == http.StatusServiceUnavailable && x.unavailableGroup(resp) {
			x.cluster.Groups.Learn(x.target.Group, x.target.Version)
			v = verdictBeyond
		}
		if x.refused(resp) {
			v = verdictUnauthorized
		}
	}
	x.observe(u, v, err)
	x.countAttempt(u, v, firstByte)
	x.traceVerdict(v, resp)

	if v == verdictUnauthorized && x.refresh() {
		discard(resp)
		a.Report(v.breaker)
		x.countRetry(v)
		next.attempt, next.ok = x.pick()
		return next, true
	}
	if v == verdictUnauthorized && x.caller != nil {
		discard(resp)
		a.Report(v.breaker)
		x.failRefusedCredential()
		return choice{}, false
	}
	if x.mayResend(v) {
		x.tried = append(x.tried, a.ID())
		next.attempt, next.ok = x.pick()
		// With none left to try, an answer that another might better is passed
		// on; a request that has none is held, and sent again after that.
		if (next.ok || resp == nil || v.resend == resendAny) && x.afford(v) {
			a.Report(v.breaker)
			discard(resp)
			x.err = err
			x.uncertain = x.uncertain || v.resend != resendAny
			x.request.Fresh = x.request.Fresh || v == verdictStale // the others may be as stale
			x.countRetry(v)
			x.log("request goes to another API server", zap.String("upstream", u.ID), zap.String("outcome", v.outcome), zap.Error(err))
			return next, true
		}
		if next.ok {
			x.skip(next.attempt)
		}
	}
	if err != nil {
		a.Report(v.breaker)
		x.failAttempt(v, err)
		return choice{}, false
	}
	x.err = nil // that of an attempt before
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

// safe says whether the request may be processed twice.
func (x *exchange) safe() bool {
	return !x.upgrade && x.target.safe(x.r.Method, x.r.URL.RawQuery)
}

// mayResend says whether the outcome table, the body and the clock allow
// another attempt.
func (x *exchange) mayResend(v verdict) bool {
	switch v.resend {
	case resendNever:
		return false
	case resendReads:
		if x.upgrade || x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
			return false
		}
	case resendSafe:
		if !x.safe() {
			return false
		}
	case resendAny:
	}
	if v.once && x.charged > 0 {
		return false
	}
	if !v.free && x.charged+1 >= x.cluster.Retry.MaxAttempts {
		return false
	}
	return x.r.Context().Err() == nil && x.rewindable() && time.Since(x.start) < retryWindow
}

// afford takes the retry from the budget, if that has one left.
func (x *exchange) afford(v verdict) bool {
	if x.cluster.Pool.Retry(v.free) {
		if !v.free {
			x.charged++
		}
		return true
	}
	if f := x.cluster.Hooks.BudgetExhausted; f != nil {
		f()
	}
	return false
}

// pick asks the balancer for an upstream that was not tried.
func (x *exchange) pick() (balancer.Attempt[*Upstream], bool) {
	return x.cluster.Pool.Pick(balancer.Request{Key: x.key(), Kind: x.kind, Tried: x.tried})
}

// hold waits for an upstream when there is none left to try: everything that
// was sent so far may be sent again.
func (x *exchange) hold() (balancer.Attempt[*Upstream], bool) {
	var none balancer.Attempt[*Upstream]
	if x.holdTill.IsZero() {
		x.holdTill = time.Now().Add(x.cluster.Retry.HoldWhenAllDown)
	}
	if f := x.cluster.Hooks.NoUpstream; f != nil {
		f()
	}
	if _, wait, _ := x.outlook(); !wait {
		return none, false
	}
	ctx, cancel := context.WithDeadline(x.r.Context(), x.holdTill)
	defer cancel()
	for {
		if len(x.tried) > 0 {
			// All were tried and none is known to be down yet: not at once
			// again, and not all requests together.
			pause := time.NewTimer(25*time.Millisecond + rand.N(75*time.Millisecond))
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return none, false
			}
		}
		if !x.cluster.Pool.Wait(ctx) {
			return none, false
		}
		x.tried = x.tried[:0]
		if a, ok := x.pick(); ok {
			return a, true
		}
		if ctx.Err() != nil {
			return none, false
		}
		x.tried = append(x.tried, "") // eligible and gone again: pause
	}
}

// giveUp answers a request that found no upstream in time.
func (x *exchange) giveUp() {
	if ended := endedBy(x.r.Context()); ended != nil {
		x.fail(answerEnded(ended), ended)
		return
	}
	if x.err == nil {
		x.err = errNoUpstream
	}
	if x.uncertain {
		x.fail(answerBadGateway(x.err.Error()), x.err)
		return
	}
	why, _, retry := x.outlook()
	if why == "" {
		why = x.err.Error()
	}
	a := answerNoUpstream(why)
	if !retry {
		a.retryAfter = 0 // the same request would meet the same
	}
	x.fail(a, x.err)
}

// outlook is the hook's, or hopeful.
func (x *exchange) outlook() (why string, wait, retry bool) {
	if f := x.cluster.Hooks.Outlook; f != nil && x.cluster.Pool.Eligible() == 0 {
		return f()
	}
	return "", true, true
}

var errNoUpstream = errors.New("all are down")

// failAttempt answers for an attempt that brought no response and may not be
// made again.
func (x *exchange) failAttempt(v verdict, err error) {
	switch {
	case v == verdictCancelled && endedBy(x.r.Context()) != nil:
		ended := endedBy(x.r.Context())
		x.fail(answerEnded(ended), ended)
	case v == verdictCancelled && x.r.Context().Err() != nil:
		x.err = err // the client left
		x.hangUp()
	case v == verdictCancelled:
		x.fail(answerBadGateway("kuberelay is shutting down"), err)
	case v == verdictBadRequest:
		x.fail(answerBadRequest(badRequest(err)), err)
	case v.resend == resendAny && !x.uncertain:
		x.fail(answerNoUpstream(err.Error()), err)
	case v == verdictTimeout, v == verdictAbandoned:
		x.fail(answerTimeout(err.Error()), err)
	default:
		x.fail(answerBadGateway(err.Error()), err)
	}
}

// badRequest says what is wrong with the request, without the upstream's name.
func badRequest(err error) string {
	if sent, ok := errors.AsType[*h1.Error](err); ok {
		err = sent.Err
	}
	return err.Error()
}

// refused says whether the API server itself refuses our credential. What
// stands behind it, such as a service with a login, answers 401 for reasons of
// its own, and has looked at the request.
func (x *exchange) refused(resp *http.Response) bool {
	return x.injected && resp.StatusCode == http.StatusUnauthorized &&
		(!x.target.reachesBeyond() || unauthorizedStatus(peekBody(resp)))
}

// refresh gets another lease after a refusal, once for each request, if that
// can be sent again.
func (x *exchange) refresh() bool {
	if x.refreshed || !x.rewindable() {
		return false
	}
	x.refreshed = true
	lease, err := x.credentials().Refused(x.r.Context(), x.lease)
	if err != nil {
		x.log("the API server refuses the credential and there is no newer one", zap.Error(err))
		return false
	}
	x.lease, x.header = lease, nil
	return true
}

// aggregated says whether another server stands behind the path's group.
func (x *exchange) aggregated() bool {
	return x.cluster.Groups.Aggregated(x.target.Group, x.target.Version)
}

// unavailableGroup recognises the aggregator's own answer for a group whose
// server is away; a core or CRD path never gets it.
func (x *exchange) unavailableGroup(resp *http.Response) bool {
	return x.target.Group != "" && resp.Header.Get("Content-Type") == "text/plain; charset=utf-8" &&
		bytes.HasPrefix(peekBody(resp), []byte("service unavailable"))
}

// peekLimit is how much of an error's body is looked at.
const peekLimit = 4 << 10

// peekedBody is a body whose first bytes were read ahead.
type peekedBody struct {
	io.ReadCloser
	head []byte
	seen []byte
	err  error
}

func (p *peekedBody) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.ReadCloser.Read(b)
}

// peekBody returns the first bytes of a response's body, which is still read
// from its beginning afterwards.
func peekBody(resp *http.Response) []byte {
	if p, ok := resp.Body.(*peekedBody); ok {
		return p.seen
	}
	p := &peekedBody{ReadCloser: resp.Body}
	buf := make([]byte, peekLimit)
	n := 0
	for n < len(buf) && p.err == nil {
		var m int
		m, p.err = p.ReadCloser.Read(buf[n:])
		n += m
		if resp.ContentLength < 0 && m > 0 {
			break // a stream: do not wait for more than its first piece
		}
	}
	p.head, p.seen = buf[:n], buf[:n]
	resp.Body = p
	return p.seen
}

// discard gives an unwanted response's connection back.
func discard(resp *http.Response) {
	if resp != nil {
		resp.Body.Close()
	}
}
