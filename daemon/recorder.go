package daemon

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/proxy"
)

// recorder turns the data path's records into metrics and access log lines.
type recorder struct {
	metrics           *admin.Metrics
	listener, cluster string
	access            *zap.Logger // nil: off
}

// Begin implements proxy.Recorder.
func (r *recorder) Begin(kind string) {
	r.gauge(kind).Inc()
}

// End implements proxy.Recorder.
func (r *recorder) End(kind string, rec *proxy.Record) {
	r.gauge(kind).Dec()
	code := rec.Code
	if code == 0 {
		code = statusClientClosed
	}
	m := r.metrics.Request(admin.RequestLabels{
		Listener: rec.Listener, Cluster: rec.Cluster, Verb: rec.Target.Verb,
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
		zap.String("method", rec.Method),
		zap.String("path", rec.Path),
		zap.Int("code", code),
		zap.Duration("duration", rec.Duration),
		zap.Int64("bytes", rec.Bytes),
		zap.String("verb", rec.Target.Verb),
		zap.String("cluster", rec.Cluster),
		zap.String("upstream", rec.Upstream),
		zap.Int("attempts", rec.Attempts),
		zap.String("client", rec.Client),
		zap.String("user-agent", rec.UserAgent),
		zap.String("audit-id", rec.AuditID),
	}
	if rec.Err != nil {
		fields = append(fields, zap.NamedError("cause", rec.Err))
	}
	r.access.Info("request", fields...)
}

// gauge counts what is in flight: short requests and streams apart.
func (r *recorder) gauge(kind string) admin.Gauge {
	if kind == "" {
		return r.metrics.InFlight(r.cluster)
	}
	return r.metrics.Stream(kind)
}

// statusClientClosed stands for "the client left before the answer" in
// metrics and logs, as nginx has it.
const statusClientClosed = 499

// Denied implements proxy.Recorder.
func (r *recorder) Denied(req *http.Request, reason string, code int) {
	r.metrics.Denied(reason)
	if r.access == nil {
		return
	}
	r.access.Info("request refused",
		zap.String("method", req.Method),
		zap.String("path", req.URL.Path),
		zap.Int("code", code),
		zap.String("reason", reason),
		zap.String("host", req.Host),
		zap.String("client", req.RemoteAddr),
		zap.String("user-agent", req.UserAgent()),
	)
}
