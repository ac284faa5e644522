package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// Observation is what an attempt shows about its upstream's health.
type Observation uint8

// Observations.
const (
	ObserveNothing      Observation = iota
	ObservePass                     // it answered
	ObserveRefused                  // nobody listens, or no route
	ObserveReset                    // the connection was lost before an answer
	ObserveTimeout                  // no answer in time
	ObserveShuttingDown             // it says that it is shutting down
	ObserveCertificate              // its certificate does not verify
)

// resend is which requests may go to another upstream after an outcome.
type resend uint8

const (
	resendNever resend = iota
	resendReads        // GET and HEAD
	resendSafe         // what changes nothing when it is processed twice
	resendAny          // the upstream has processed nothing of it
)

// verdict is one line of the outcome table: what an attempt's end means for
// the breaker, for health, and for the request.
type verdict struct {
	outcome string           // label of kuberelay_upstream_requests_total
	breaker balancer.Outcome // what the circuit breaker counts
	observe Observation      // what health hears
	resend  resend           // who may try another upstream
	free    bool             // the retry is not charged to the budget
	once    bool             // at most one retry, however many upstreams are left
}

// The lines of the table.
var (
	verdictOK           = verdict{outcome: "success", breaker: balancer.Success, observe: ObservePass}      // 4xx as well: it has answered
	verdictUnauthorized = verdict{outcome: "unauthorized", breaker: balancer.Success, observe: ObservePass} // of our credential: see refresh
	verdictThrottled    = verdict{outcome: "throttled", breaker: balancer.Success, observe: ObservePass}
	verdictServerError  = verdict{outcome: "server_error", breaker: balancer.Neutral} // of the request, or of a server beyond
	verdictUnavailable  = verdict{outcome: "unavailable", breaker: balancer.Failure, resend: resendReads}
	verdictShuttingDown = verdict{outcome: "shutting_down", breaker: balancer.Neutral, observe: ObserveShuttingDown, resend: resendAny, free: true}
	// Said by the API server or by an aggregated one: one more try, which may
	// meet another replica, and nothing for health.
	verdictShuttingBeyond = verdict{outcome: "shutting_down", breaker: balancer.Neutral, resend: resendAny, once: true}
	verdictColdCache      = verdict{outcome: "initializing", breaker: balancer.Neutral, resend: resendReads, once: true}

	verdictRefused     = verdict{outcome: "connect", breaker: balancer.Failure, observe: ObserveRefused, resend: resendAny, free: true}
	verdictDialTimeout = verdict{outcome: "connect", breaker: balancer.Failure, observe: ObserveTimeout, resend: resendAny, free: true}
	verdictCertificate = verdict{outcome: "certificate", breaker: balancer.Neutral, observe: ObserveCertificate, resend: resendAny, free: true}
	verdictNotSent     = verdict{outcome: "unprocessed", breaker: balancer.Neutral, resend: resendAny, free: true}
	verdictStale       = verdict{outcome: "stale", breaker: balancer.Neutral, resend: resendSafe, free: true}
	verdictLost        = verdict{outcome: "reset", breaker: balancer.Failure, observe: ObserveReset, resend: resendSafe}
	verdictTimeout     = verdict{outcome: "timeout", breaker: balancer.Failure, observe: ObserveTimeout}
	verdictAbandoned   = verdict{outcome: "timeout", breaker: balancer.Failure, resend: resendSafe, free: true}
	verdictUnsentCut   = verdict{outcome: "timeout", breaker: balancer.Failure, resend: resendAny, free: true}
	verdictBadRequest  = verdict{outcome: "bad_request", breaker: balancer.Neutral}
	verdictCancelled   = verdict{outcome: "canceled", breaker: balancer.Neutral}
)

// judgeError reads an attempt that ended without response headers. ctx is the
// attempt's, whose cause says who ended it.
func judgeError(ctx context.Context, err error) verdict {
	var sent *h1.Error
	unsent := errors.As(err, &sent) && sent.NothingWritten()
	if cause := context.Cause(ctx); cause != nil {
		switch {
		case !errors.Is(cause, errAbandoned) && !errors.Is(cause, errCut):
			return verdictCancelled
		case unsent:
			return verdictUnsentCut
		}
		return verdictAbandoned
	}
	if sent != nil && sent.Phase == h1.PhaseRequest || errors.Is(err, h1.ErrRequestBody) {
		return verdictBadRequest
	}
	if certificateError(err) {
		return verdictCertificate
	}
	dialing := sent == nil && isDial(err)
	if sent != nil {
		dialing = sent.Phase == h1.PhaseDial || sent.Phase == h1.PhaseHandshake
	}
	switch {
	case dialing && isTimeout(err):
		return verdictDialTimeout
	case dialing:
		return verdictRefused
	case unsent:
		return verdictNotSent
	case isTimeout(err):
		return verdictTimeout
	case sent != nil && sent.IdleRace():
		return verdictStale
	}
	return verdictLost
}

// judgeResponse reads response headers, and for those that need it the first
// bytes of the body. aggregated says whether another server stands behind the
// path's API group.
func judgeResponse(target Target, aggregated bool, resp *http.Response) verdict {
	code := resp.StatusCode
	if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
		if v, ok := judgeUnprocessed(target, aggregated, resp); ok {
			return v
		}
	}
	switch {
	case code == http.StatusTooManyRequests:
		return verdictThrottled
	case code < 500:
		return verdictOK
	case aggregated, target.reachesBeyond(),
		!target.IsResource, code != http.StatusBadGateway && code != http.StatusServiceUnavailable && code != http.StatusGatewayTimeout,
		code == http.StatusGatewayTimeout && bytes.Contains(peekBody(resp), []byte("ResourceVersionTooLarge")):
		return verdictServerError
	}
	return verdictUnavailable
}

// judgeUnprocessed reads a 429 or 503 for what an API server says before it
// looks at a request. Pods, services and aggregated APIs may say the same of
// themselves. To a request that reaches beyond it, the API server itself says it
// with Connection: close, which is never passed on from there. From an
// aggregated API without that, it may be said by either server.
func judgeUnprocessed(target Target, aggregated bool, resp *http.Response) (v verdict, ok bool) {
	own := resp.Close
	if target.reachesBeyond() && !own {
		return verdict{}, false
	}
	switch text := peekBody(resp); {
	case shuttingDown(text) && aggregated && !own:
		return verdictShuttingBeyond, true
	case shuttingDown(text):
		return verdictShuttingDown, true
	case resp.StatusCode == http.StatusTooManyRequests && bytes.Contains(text, []byte("storage is (re)initializing")):
		return verdictColdCache, true
	}
	return verdict{}, false
}

// shuttingDown recognises the API server's answers from before and after its
// serving life. None of them was processed.
//
// Source: k8s.io/apiserver, pkg/server/filters/{with_retry_after,waitgroup}.go,
// pkg/server/routes and util/notfoundhandler.
func shuttingDown(body []byte) bool {
	return bytes.Contains(body, []byte("apiserver is shutting down")) ||
		bytes.Contains(body, []byte("request has been made before all known HTTP paths have been installed"))
}

// unauthorizedStatus recognises the API server's own 401: a Status, as JSON or
// protobuf.
func unauthorizedStatus(body []byte) bool {
	const unauthorized = string(metav1.StatusReasonUnauthorized)
	if bytes.HasPrefix(body, []byte("k8s\x00")) {
		return bytes.Contains(body, []byte(unauthorized))
	}
	var status struct{ Kind, Reason string }
	return json.Unmarshal(body, &status) == nil && status.Kind == "Status" && status.Reason == unauthorized
}

// certificateError reports whether the upstream's certificate is why a
// connection cannot be had.
func certificateError(err error) bool {
	var (
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &hostname) || errors.As(err, &invalid)
}

func isDial(err error) bool {
	if _, ok := errors.AsType[connectError](err); ok {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect")
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout() || strings.Contains(err.Error(), "TLS handshake timeout")
}
