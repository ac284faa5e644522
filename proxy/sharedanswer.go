package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
)

var errRevoked = errors.New("the client was revoked by an operator")

// answerUnauthenticated is a 401 without a challenge: a browser's password
// dialogue cannot give anything that kuberelay accepts.
func answerUnauthenticated(err error) answer {
	a := answer{
		code: http.StatusUnauthorized, reason: metav1.StatusReasonUnauthorized,
		cause: "Identity", message: err.Error(),
	}
	if refusal, ok := errors.AsType[*identify.Refusal](err); ok {
		a.cause = metav1.CauseType(refusal.Reason)
	}
	return a
}

// answerLimit is the API server's own answer for too many requests, of
// priority and fairness (KEP-1040).
func answerLimit(err error) answer {
	a := answer{
		code: http.StatusTooManyRequests, reason: metav1.StatusReasonTooManyRequests,
		cause: "Limit", message: err.Error(), retryAfter: 1,
	}
	if exceeded, ok := errors.AsType[*limit.Exceeded](err); ok {
		a.cause, a.retryAfter = metav1.CauseType(exceeded.Limit), exceeded.RetryAfter
	}
	return a
}

// answerEnded is for a request that was ended from outside before its answer
// had begun. It may have been processed.
func answerEnded(e *EndedError) answer {
	a := answerForbidden(metav1.CauseType(e.Reason), e.Error())
	if e.Reason == CloseExpired || e.Reason == CloseRevoked || e.Reason == CloseRemoved {
		a.code, a.reason = http.StatusUnauthorized, metav1.StatusReasonUnauthorized
	}
	return a
}

// answerNoUpgrade is for an upstream that neither switches protocols nor
// refuses.
func answerNoUpgrade(code int) answer {
	return answer{
		code: http.StatusBadGateway, reason: metav1.StatusReasonInternalError, cause: "UpstreamUpgrade",
		message: fmt.Sprintf("the API server answered the upgrade with status %d", code),
	}
}

// failCredential answers when there is nothing to call the cluster with.
// Clients of a shared listener learn which credential, and the log why.
func (x *exchange) failCredential(err error) {
	if x.caller == nil {
		x.fail(answerCredential(err.Error()), err)
		return
	}
	if ended := endedError(x.r.Context()); ended != nil {
		x.fail(answerEnded(ended), ended)
		return
	}
	detail := fmt.Sprintf("the credential %q cannot be had; kuberelay's log says why", x.caller.Grant.Credential)
	if x.uncertain { // an attempt may have been processed before the credential was gone
		x.fail(answerBadGateway(detail), err)
		return
	}
	x.refusal = RefusedCredential
	x.fail(answer{
		code: http.StatusServiceUnavailable, reason: metav1.StatusReasonServiceUnavailable, retryAfter: 1,
		cause: "Credential", message: detail,
	}, err)
}

// inTheClear refuses to send a credential to an http:// server: it would be left
// out, and the request anonymous.
func (x *exchange) inTheClear(u *Upstream) bool {
	if x.caller == nil || u.URL.Scheme != "http" || !x.lease.Confidential() {
		return false
	}
	x.refusal = RefusedCredential
	x.fail(answer{
		code: http.StatusServiceUnavailable, reason: metav1.StatusReasonServiceUnavailable, cause: "Credential",
		message: fmt.Sprintf("the credential %q is not sent to an API server over plain HTTP", x.caller.Grant.Credential),
	}, errInTheClear)
	return true
}

var errInTheClear = errors.New("the API server is reached over plain HTTP")

// failRefusedCredential answers when the API server refuses the credential and
// there is no newer one. Its 401 would pass for one about the client's own.
func (x *exchange) failRefusedCredential() {
	name := x.caller.Grant.Credential
	now := time.Now().Unix()
	if last := x.h.warned.Load(); now-last >= int64(refusalLines/time.Second) && x.h.warned.CompareAndSwap(last, now) {
		x.warnRefused(name)
	}
	x.refusal = RefusedCredential
	x.fail(answer{
		code: http.StatusBadGateway, reason: metav1.StatusReasonInternalError, cause: "UpstreamCredential",
		message: fmt.Sprintf("the API server refuses the credential %q, with which kuberelay calls it", name),
	}, errRefusedCredential)
}

// refusalLines is the least time between two lines in the log about refused
// credentials: every request would write one.
const refusalLines = 10 * time.Second

func (x *exchange) warnRefused(credential string) {
	x.h.o.Log.Warn("the API server refuses a credential, and there is no newer one",
		zap.String("cluster", x.cluster.Name), zap.String("upstream", x.upstream),
		zap.String("credential", credential), zap.String("client", x.caller.Client.Name))
}

var errRefusedCredential = errors.New("the API server refuses the credential")
