package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth/policy"
)

// The annotations' keys, beside Kubernetes' own authorization.k8s.io/….
const (
	annotationDecision    = "authorization.k8s.io/decision"
	annotationReason      = "authorization.k8s.io/reason"
	annotationClient      = "kuberelay/client"
	annotationMethod      = "kuberelay/auth-method"
	annotationEvidence    = "kuberelay/auth-id"
	annotationListener    = "kuberelay/listener"
	annotationCluster     = "kuberelay/cluster"
	annotationUpstream    = "kuberelay/upstream"
	annotationCredential  = "kuberelay/credential"
	annotationGeneration  = "kuberelay/credential-generation"
	annotationAttempts    = "kuberelay/attempts"
	annotationUpgrade     = "kuberelay/upgrade-protocol"
	annotationBytes       = "kuberelay/bytes-out"
	annotationCloseReason = "kuberelay/close-reason"
	annotationCause       = "kuberelay/cause"
)

// audit writes the one event of a request that the gates answer. It is false
// when the event could not be written and the request may therefore have no
// effect: then the client has its answer.
func (v *visit) audit(a answer) bool {
	e := audit.Event{
		Stage: audit.StageResponseComplete, AuditID: v.auditID, RequestURI: v.r.RequestURI,
		SourceIP: peerIP(v.r), UserAgent: v.r.UserAgent(),
		Code: int32(a.code), Reason: string(a.reason), Message: a.message,
		RequestReceived: v.start, Timestamp: time.Now(),
	}
	annotations := append(make([]audit.Annotation, 0, 8),
		audit.Annotation{Key: annotationListener, Value: v.h.o.Listener},
		audit.Annotation{Key: annotationCluster, Value: v.cluster})
	if a.cause != "" {
		annotations = append(annotations,
			audit.Annotation{Key: annotationDecision, Value: "forbid"},
			audit.Annotation{Key: annotationReason, Value: string(a.cause) + ": " + a.message})
	}
	if v.identity != nil {
		e.User.Username = v.identity.Client
		annotations = append(annotations,
			audit.Annotation{Key: annotationClient, Value: v.identity.Client},
			audit.Annotation{Key: annotationMethod, Value: v.identity.Method()},
			audit.Annotation{Key: annotationEvidence, Value: v.identity.ID()})
	}
	if v.request != nil {
		e.Verb, e.Object = v.request.Info.Verb, objectOf(v.request)
	} else {
		e.Verb = lowerMethod(v.r.Method)
	}
	e.Annotations = annotations
	log := v.h.o.Shared.Access.Load().Audit // not v.access's: a reload closes that
	if err := log.Write(&e); err != nil && log.Blocks() && a.cause == "" {
		answerAudit().write(v.w, v.auditID)
		return false
	}
	return true
}

// auditLog is the log in use now: a reload closes the one before.
func (x *exchange) auditLog() *audit.Log { return x.h.o.Shared.Access.Load().Audit }

// auditReceived records, in block mode, a request that may change something
// before it is sent. If that fails, the request is refused.
func (x *exchange) auditReceived() bool {
	log := x.auditLog()
	if !log.Blocks() || !x.mutates() {
		return true
	}
	e := x.event(audit.StageRequestReceived)
	if err := log.Write(&e); err != nil {
		x.refusal = RefusedAudit
		x.fail(answerAudit(), errAudit)
		return false
	}
	return true
}

// mutates reports whether the request may change something: all but reads may.
func (x *exchange) mutates() bool {
	if x.upgrade {
		return true
	}
	switch x.caller.Request.Verb() {
	case "get", "list", "watch", "head", "options":
		return false
	}
	return true
}

// auditStarted records that a stream has begun.
func (x *exchange) auditStarted() {
	if x.caller == nil || !x.longRunning {
		return
	}
	log := x.auditLog()
	if log == nil {
		return
	}
	e := x.event(audit.StageResponseStarted)
	e.Code = int32(x.code)
	_ = log.Write(&e) // counted and logged there; its request is on record, or only reads
}

// auditComplete records the end of the request.
func (x *exchange) auditComplete(rec *Record) {
	if x.caller == nil {
		return
	}
	log := x.auditLog()
	if log == nil {
		return
	}
	e := x.event(audit.StageResponseComplete)
	e.Code = int32(x.code)
	if e.Code == 0 {
		e.Code = StatusClientClosed
	}
	switch {
	case x.given.code != 0: // what the client reads, and so nothing that only the log may say
		e.Reason, e.Message = string(x.given.reason), x.given.message
	case x.err != nil:
		e.Message = messageOf(x.err)
	}
	e.Annotations = append(e.Annotations,
		audit.Annotation{Key: annotationUpstream, Value: x.upstream},
		audit.Annotation{Key: annotationAttempts, Value: strconv.Itoa(x.attempts)},
		audit.Annotation{Key: annotationBytes, Value: strconv.FormatInt(x.bytes, 10)},
		audit.Annotation{Key: annotationCause, Value: string(x.given.cause)},
		audit.Annotation{Key: annotationCloseReason, Value: string(rec.CloseReason)})
	_ = log.Write(&e) // counted and logged there
}

// event is what all events of an exchange have in common.
func (x *exchange) event(stage audit.Stage) audit.Event {
	c := x.caller
	e := audit.Event{
		Stage: stage, AuditID: x.auditID, RequestURI: x.r.RequestURI, Verb: c.Request.Info.Verb,
		User: audit.User{Username: c.Client.Name}, Object: objectOf(&c.Request),
		SourceIP: peerIP(x.r), UserAgent: x.r.UserAgent(),
		RequestReceived: x.start, Timestamp: time.Now(),
	}
	as := c.As
	if as == nil {
		as = x.lease.As() // a kubeconfig's as:
	}
	if as != nil {
		e.Impersonated = &audit.User{Username: as.User(), UID: as.UID(), Groups: as.Groups(), Extra: as.Extra()}
	}
	e.Annotations = append(make([]audit.Annotation, 0, 16),
		audit.Annotation{Key: annotationDecision, Value: "allow"},
		audit.Annotation{Key: annotationReason, Value: fmt.Sprintf("rule %d of policy %s", c.Rule, c.Grant.PolicyName)},
		audit.Annotation{Key: annotationClient, Value: c.Client.Name},
		audit.Annotation{Key: annotationMethod, Value: c.Identity.Method()},
		audit.Annotation{Key: annotationEvidence, Value: c.Identity.ID()},
		audit.Annotation{Key: annotationListener, Value: c.Listener},
		audit.Annotation{Key: annotationCluster, Value: c.Cluster},
		audit.Annotation{Key: annotationCredential, Value: c.Grant.Credential})
	if x.lease != nil {
		e.Annotations = append(e.Annotations, audit.Annotation{Key: annotationGeneration, Value: strconv.FormatUint(x.lease.Generation(), 10)})
	}
	if x.upgrade {
		e.Annotations = append(e.Annotations, audit.Annotation{Key: annotationUpgrade, Value: upgradeProtocol(x.r)})
	}
	return e
}

func objectOf(r *policy.Request) *audit.ObjectRef {
	if !r.Info.IsResourceRequest {
		return nil
	}
	return &audit.ObjectRef{
		Resource: r.Info.Resource, Namespace: r.Info.Namespace, Name: r.Info.Name, Subresource: r.Info.Subresource,
		APIGroup: r.Info.APIGroup, APIVersion: r.Info.APIVersion,
	}
}

// messageOf is what an event says of an error after which the client got no
// answer of kuberelay's. What a credential's source says is for the log alone.
func messageOf(err error) string {
	for _, known := range []error{errCut, errAbandoned, errDraining, errClientLeft} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if ended, ok := errors.AsType[*EndedError](err); ok {
		return ended.Error()
	}
	return ""
}

var errAudit = errors.New("the audit log cannot be written")

func answerAudit() answer {
	return answer{
		code: http.StatusServiceUnavailable, reason: metav1.StatusReasonServiceUnavailable, cause: "Audit", retryAfter: 1,
		message: "the request was not made: its audit event cannot be written",
	}
}
