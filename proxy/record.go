package proxy

import (
	"time"
)

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
		Duration:  time.Since(x.start),
		AuditID:   x.auditID,
		UserAgent: x.r.UserAgent(),
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
