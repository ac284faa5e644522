package daemon

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/proxy"
)

// recorder turns the data path's records into metrics and access log lines.
type recorder struct {
	metrics  *admin.Metrics
	listener string
	access   *zap.Logger // nil: off
	log      *zap.Logger
	causes   causes
}

// Begin implements proxy.Recorder.
func (r *recorder) Begin(cluster, kind string) {
	r.gauge(cluster, kind).Inc()
}

// End implements proxy.Recorder.
func (r *recorder) End(kind string, rec *proxy.Record) {
	r.gauge(rec.Cluster, kind).Dec()
	code := rec.Code
	if code == 0 {
		code = proxy.StatusClientClosed
	}
	client := ""
	if rec.Caller != nil {
		client = rec.Caller.Client.Name
		r.count(rec)
	}
	m := r.metrics.Request(admin.RequestLabels{
		Listener: rec.Listener, Cluster: rec.Cluster, Client: client, Verb: rec.Target.Verb,
		Group: rec.Group, Resource: rec.Resource, Code: code,
	})
	if kind == "" {
		m.Observe(rec.Duration)
	} else {
		m.Count()
	}
	if r.access == nil {
		return
	}
	fields := []zap.Field{
		zap.String("listener", rec.Listener),
		zap.String("method", rec.Method),
		zap.String("path", rec.Path),
		zap.Int("code", code),
		zap.Duration("duration", rec.Duration),
		zap.Int64("bytes", rec.Bytes),
		zap.String("verb", rec.Target.Verb),
		zap.String("cluster", rec.Cluster),
		zap.String("upstream", rec.Upstream),
		zap.Int("attempts", rec.Attempts),
		zap.String("peer", rec.Client),
		zap.String("user-agent", rec.UserAgent),
		zap.String("audit-id", rec.AuditID),
	}
	if rec.Caller != nil {
		fields = append(fields, zap.String("client", client), zap.String("credential", rec.Caller.Grant.Credential))
	}
	if rec.CloseReason != "" {
		fields = append(fields, zap.String("close-reason", string(rec.CloseReason)))
	}
	if rec.Err != nil {
		fields = append(fields, zap.NamedError("cause", rec.Err))
	}
	r.access.Info("request", fields...)
}

// cuts maps close reasons to the label of streams_cut_total.
var cuts = map[proxy.CloseReason]string{
	proxy.CloseRevoked: admin.CutRevoked, proxy.CloseExpired: admin.CutExpired, proxy.CloseRemoved: admin.CutReload, proxy.CloseReload: admin.CutReload,
	proxy.ClosePolicy: admin.CutPolicy, proxy.CloseCredential: admin.CutCredential,
	proxy.CloseDrain: admin.CutDrain, proxy.CloseShutdown: admin.CutShutdown,
}

// count counts what kuberelay has ended, and what it has refused after the
// gates.
func (r *recorder) count(rec *proxy.Record) {
	if reason, cut := cuts[rec.CloseReason]; cut {
		r.metrics.StreamCut(reason)
	}
	switch rec.Refused {
	case proxy.RefusedNot:
	case proxy.RefusedCredential:
		r.metrics.Denied(admin.DeniedCredential)
	case proxy.RefusedAudit:
		r.metrics.Denied(admin.DeniedAudit)
	}
}

// gauge counts what is in flight: short requests and streams apart.
func (r *recorder) gauge(cluster, kind string) admin.Gauge {
	if kind == "" {
		return r.metrics.InFlight(cluster)
	}
	return r.metrics.Stream(kind)
}

// Denied implements proxy.Recorder.
func (r *recorder) Denied(req *http.Request, d proxy.Denial) {
	r.metrics.Denied(d.Reason)
	if d.Err != nil && r.causes.due(d.Err.Error(), time.Now()) {
		r.log.Warn("clients cannot be identified", zap.String("listener", r.listener), zap.Error(d.Err))
	}
	if r.access == nil {
		return
	}
	r.access.Info("request refused",
		zap.String("listener", r.listener),
		zap.String("method", req.Method),
		zap.String("path", req.URL.Path),
		zap.Int("code", d.Code),
		zap.String("reason", d.Reason),
		zap.String("cause", d.Cause),
		zap.String("host", req.Host),
		zap.String("peer", req.RemoteAddr),
		zap.String("client", d.Client),
		zap.String("user-agent", req.UserAgent()),
	)
}
