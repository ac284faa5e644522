package fakeapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Text answers with a text.
func Text(code int, body string) http.Handler {
	return answer(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	})
}

// JSON answers with a value as JSON.
func JSON(code int, value any) http.Handler {
	return answer(func(w http.ResponseWriter) { writeJSON(w, code, value) })
}

// Respond answers with these headers ("Name", "value", …) and body.
func Respond(code int, body string, headers ...string) http.Handler {
	return answer(func(w http.ResponseWriter) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	})
}

// Status answers with a Kubernetes Status. A retryAfter of 0 seconds is left
// out; otherwise the header Retry-After has it too.
func Status(code int, reason metav1.StatusReason, message string, retryAfter int) http.Handler {
	return answer(func(w http.ResponseWriter) { writeStatus(w, code, reason, message, retryAfter) })
}

// Echo answers with what it got: method, target, proto, host, headers and the
// body's hash, as the JSON of a [Received].
func Echo() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client went away
		}
		writeJSON(w, http.StatusOK, Received{r.Method, r.RequestURI, r.Proto, r.Host, r.Header, HashOf(body)})
	})
}

// Received is what [Echo] answers.
type Received struct {
	Method, Target, Proto, Host string
	Header                      http.Header
	BodyHash                    string
}

// APF is the 429 of API priority and fairness.
func APF() http.Handler {
	return Respond(http.StatusTooManyRequests, "Too many requests, please try again later.\n",
		"Retry-After", "1", "Content-Type", "text/plain; charset=utf-8", "X-Content-Type-Options", "nosniff",
		"X-Kubernetes-PF-FlowSchema-UID", "fs-uid", "X-Kubernetes-PF-PriorityLevel-UID", "pl-uid")
}

// ShuttingDown429 is a server with --shutdown-send-retry-after that is about to
// end: it did not look at the request.
func ShuttingDown429() http.Handler {
	return Respond(http.StatusTooManyRequests, "The apiserver is shutting down, please try again later.\n",
		"Retry-After", "5", "Connection", "close", "Content-Type", "text/plain; charset=utf-8", "X-Content-Type-Options", "nosniff")
}

// ShuttingDown503 is a server that is about to end, without that option. It did
// not look at the request.
func ShuttingDown503() http.Handler {
	return answer(func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		writeStatus(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "apiserver is shutting down", 0)
	})
}

// Starting503 is a server that has not installed all its paths yet.
func Starting503() http.Handler {
	return Status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
		"the request has been made before all known HTTP paths have been installed, please try again", 5)
}

// Initializing429 is a server whose watch cache is not filled yet (KEP-4568).
func Initializing429() http.Handler {
	return Status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "storage is (re)initializing", 1)
}

// EvictionRefused429 is a pod that its disruption budget protects.
func EvictionRefused429() http.Handler {
	return Status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests,
		"Cannot evict pod as it would violate the pod's disruption budget.", 10)
}

// Webhook500 is an admission webhook that does not answer.
func Webhook500() http.Handler {
	return Status(http.StatusInternalServerError, metav1.StatusReasonInternalError,
		`Internal error occurred: failed calling webhook "validate.example.org": failed to call webhook: Post "https://webhook.default.svc:443/validate?timeout=10s": dial tcp 10.96.0.9:443: connect: connection refused`, 0)
}

// Aggregated503 is a group whose aggregated API server is down.
func Aggregated503() http.Handler {
	return Respond(http.StatusServiceUnavailable, "service unavailable\n",
		"Content-Type", "text/plain; charset=utf-8", "X-Content-Type-Options", "nosniff")
}

// Kubelet500 is a node that does not answer to log, exec or proxy.
func Kubelet500() http.Handler {
	return Status(http.StatusInternalServerError, metav1.StatusReasonInternalError,
		`Internal error occurred: Get "https://10.0.0.21:10250/containerLogs/default/web/web": dial tcp 10.0.0.21:10250: connect: connection refused`, 0)
}

// TooLargeResourceVersion504 is a server whose cache lags behind the
// resourceVersion the client asks for.
func TooLargeResourceVersion504() http.Handler {
	return answer(func(w http.ResponseWriter) {
		status := newStatus(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, "Timeout: Too large resource version: 900, current: 100", 1)
		status.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusGatewayTimeout, status)
	})
}

// Timeout504 is a request that took longer than --request-timeout; a write may
// still come through.
func Timeout504() http.Handler {
	return Status(http.StatusGatewayTimeout, metav1.StatusReasonTimeout,
		"Timeout: request did not complete within requested timeout - context deadline exceeded", 0)
}

// Unauthorized is a credential that is not, or no longer, valid. Over HTTP/2 the
// server ends the connection after it, as real ones do.
func Unauthorized() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		if r.ProtoMajor == 2 {
			w.Header().Set("Connection", "close")
		}
		writeStatus(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized", 0)
	})
}

// answer reads the request's body first, as a server does that answers to it.
func answer(write func(w http.ResponseWriter)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		drain(r)
		write(w)
	})
}

func drain(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) } // the client may be gone

func newStatus(code int, reason metav1.StatusReason, message string, retryAfter int) metav1.Status {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Message: message, Reason: reason, Code: int32(code),
	}
	if retryAfter > 0 {
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: int32(retryAfter)}
	}
	return status
}

func writeStatus(w http.ResponseWriter, code int, reason metav1.StatusReason, message string, retryAfter int) {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	writeJSON(w, code, newStatus(code, reason, message, retryAfter))
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, fmt.Sprintf("fakeapi: %v", err), http.StatusInternalServerError)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}
