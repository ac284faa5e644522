package proxy

import (
	"encoding/json"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// answer is a response that kuberelay itself gives: a Kubernetes Status with
// the matching code. retryAfter is set only where the request provably was
// not processed: client-go repeats any verb, POST included, on a 5xx that
// carries Retry-After.
type answer struct {
	code       int
	reason     metav1.StatusReason
	message    string
	cause      metav1.CauseType // what refused, in details.causes
	retryAfter int              // seconds; 0: no header
}

// write sends the answer, with the header fields that w already has.
func (a answer) write(w http.ResponseWriter, auditID string) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Message:  a.message,
		Reason:   a.reason,
		Code:     int32(a.code),
		Details: &metav1.StatusDetails{
			Causes:            []metav1.StatusCause{{Type: a.cause, Message: a.message}},
			RetryAfterSeconds: int32(a.retryAfter),
		},
	}
	body, err := json.Marshal(status)
	if err != nil { // a struct of strings and ints always marshals
		body = []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure"}`)
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache, private")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set(auditIDHeader, auditID)
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	w.WriteHeader(a.code)
	w.Write(body) // on error the client is gone: there is nobody to tell
}

// The answers, named after what happened.
func answerNoUpstream(detail string) answer {
	return answer{
		code: http.StatusServiceUnavailable, reason: metav1.StatusReasonServiceUnavailable, retryAfter: 1,
		cause: "NoUpstream", message: "no API server of the cluster can be used: " + detail,
	}
}

func answerCredential(detail string) answer {
	return answer{
		code: http.StatusServiceUnavailable, reason: metav1.StatusReasonServiceUnavailable, retryAfter: 1,
		cause: "Credential", message: "the cluster's credential cannot be had: " + detail,
	}
}

func answerBadGateway(detail string) answer {
	return answer{
		code: http.StatusBadGateway, reason: metav1.StatusReasonInternalError,
		cause: "UpstreamLost", message: "the API server's answer was lost and the request may have been processed: " + detail,
	}
}

func answerTimeout(detail string) answer {
	return answer{
		code: http.StatusGatewayTimeout, reason: metav1.StatusReasonTimeout,
		cause: "UpstreamTimeout", message: "the API server did not answer in time and the request may have been processed: " + detail,
	}
}

func answerBadRequest(detail string) answer {
	return answer{code: http.StatusBadRequest, reason: metav1.StatusReasonBadRequest, cause: "BadRequest", message: detail}
}

func answerForbidden(cause metav1.CauseType, detail string) answer {
	return answer{code: http.StatusForbidden, reason: metav1.StatusReasonForbidden, cause: cause, message: detail}
}

// answerForm is for a request to a proxy itself (CONNECT, TRACE), to the server
// as a whole (*), or without a path. It adds to h, the answer's header.
func answerForm(h http.Header, r *http.Request) answer {
	switch {
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace:
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		return answer{
			code: http.StatusMethodNotAllowed, reason: metav1.StatusReasonMethodNotAllowed, cause: "Method",
			message: "the method " + r.Method + " is not proxied",
		}
	case r.URL.Path == "":
		return answerBadRequest("the request-target has no path: paths of the API server begin with /")
	}
	return answerBadRequest("the request-target * stands for the server as a whole, which is not proxied: ask for a path")
}
