package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// retryWindow is how long after its arrival a request may still be sent to
// another upstream.
const retryWindow = 10 * time.Second

// try makes attempts, on one upstream after the other, until one has answered
// the client or no upstream can be expected any more.
func (x *exchange) try() {
	a, ok := x.pick()
	for {
		if !ok {
			if a, ok = x.hold(); !ok {
				x.giveUp()
				return
			}
		}
		next, more := x.attempt(a)
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

// attempt sends the request to one upstream. Either it answers the client, and
// more is false, or it returns the choice for another attempt.
func (x *exchange) attempt(a balancer.Attempt[*Upstream]) (next choice, more bool) {
	u := a.Value()
	switch x.leaseFor(u) {
	case leaseFits:
	case leaseUnfit:
		x.skip(a)
		return choice{}, true
	case leaseGone:
		x.giveBack(a)
		x.failCredential(x.err)
		return choice{}, false
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
	if x.upgrade {
		return x.attemptUpgrade(ctx, a)
	}
	return x.attemptRequest(ctx, a)
}

// judge finds the verdict on an attempt, from its response headers or its
// error, and tells it to health, metrics and traces.
func (x *exchange) judge(ctx context.Context, u *Upstream, resp *http.Response, err error, sent time.Time) (v verdict) {
	firstByte := time.Duration(-1)
	x.err = err // an earlier attempt's no longer tells why there is no answer
	if err != nil {
		v = judgeError(ctx, err)
	} else {
		firstByte = time.Since(sent)
		v = x.verdictOn(resp)
	}
	x.observe(u, v, err)
	x.countAttempt(u, v, firstByte)
	x.traceVerdict(v, resp)
	return v
}

// verdictOn is judgeResponse with what the exchange and its cluster know
// besides.
func (x *exchange) verdictOn(resp *http.Response) verdict {
	switch {
	case x.refused(resp):
		return verdictUnauthorized
	case resp.StatusCode == http.StatusServiceUnavailable && x.unavailableGroup(resp):
		x.cluster.Groups.Learn(x.target.Group, x.target.Version)
		return verdictServerError
	}
	return judgeResponse(x.target, x.aggregated(), resp)
}

// again prepares another attempt where the verdict and the request allow one,
// with a new credential or on another upstream. If it does, it has discarded the
// response, and more is true.
func (x *exchange) again(a balancer.Attempt[*Upstream], v verdict, resp *http.Response, err error) (next choice, more bool) {
	if v == verdictUnauthorized && x.refresh() {
		discard(resp)
		a.Report(v.breaker)
		x.countRetry(v)
		next.attempt, next.ok = x.pick()
		return next, true
	}
	if !x.mayResend(v) {
		return choice{}, false
	}
	x.tried = append(x.tried, a.ID())
	next.attempt, next.ok = x.pick()
	// With no upstream left to try, an answer is passed on, even if another
	// upstream might give a better one; a request without an answer is held,
	// and then sent again.
	if (next.ok || resp == nil || v.resend == resendAny) && x.afford(v) {
		a.Report(v.breaker)
		discard(resp)
		x.uncertain = x.uncertain || v.resend != resendAny
		x.request.Fresh = x.request.Fresh || v == verdictStale // the others may be as stale
		x.countRetry(v)
		x.log("request goes to another API server", zap.String("upstream", a.ID()), zap.String("outcome", v.outcome), zap.Error(err))
		return next, true
	}
	if next.ok {
		x.skip(next.attempt)
	}
	return choice{}, false
}

// hides reports whether a response is kept from the client: a shared
// listener's would take the API server's 401 for one about its own credential.
func (x *exchange) hides(v verdict) bool { return v == verdictUnauthorized && x.caller != nil }

// safe reports whether the request may be processed twice.
func (x *exchange) safe() bool {
	return !x.upgrade && x.target.safe(x.r.Method, x.r.URL.RawQuery)
}

// mayResend reports whether the outcome table, the body and the clock allow
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
	if v.once && (x.charged > 0 || x.upgrade) { // a server beyond may have acted on the upgrade
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

// failAttempt answers for an attempt that brought no response, or one that is
// hidden, and that may not be made again.
func (x *exchange) failAttempt(v verdict, err error) {
	switch {
	case x.hides(v):
		x.failRefusedCredential()
	case v == verdictCancelled && endedError(x.r.Context()) != nil:
		ended := endedError(x.r.Context())
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
