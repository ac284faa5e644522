package proxy

import (
	"maps"
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Tracing makes a span for each request that passes the gates, and below it one
// for each attempt. Spans have no query, no header and no object's name, and of a
// path only what the cluster's discovery knows.
type Tracing struct {
	// Tracer makes the spans. Required.
	Tracer trace.Tracer
	// Propagator reads a request's trace context, and writes the attempt's in
	// its place; nil: the client's header fields pass unchanged.
	Propagator propagation.TextMapPropagator
}

// spans are those of an exchange. Without tracing both are nil.
type spans struct {
	request trace.Span
	attempt trace.Span // the one under way
}

// Attributes, by OpenTelemetry's semantic conventions for HTTP and Kubernetes
// where those have one. url.path and url.full are left out: they have names.
const (
	keyMethod        = attribute.Key("http.request.method")
	keyStatus        = attribute.Key("http.response.status_code")
	keyResend        = attribute.Key("http.request.resend_count")
	keyBytes         = attribute.Key("http.response.body.size")
	keyScheme        = attribute.Key("url.scheme")
	keyProtocol      = attribute.Key("network.protocol.version")
	keyServerAddress = attribute.Key("server.address")
	keyServerPort    = attribute.Key("server.port")
	keyErrorType     = attribute.Key("error.type")
	keyNamespace     = attribute.Key("k8s.namespace.name")

	keyListener    = attribute.Key("kuberelay.listener")
	keyCluster     = attribute.Key("kuberelay.cluster")
	keyClient      = attribute.Key("kuberelay.client")
	keyVerb        = attribute.Key("kuberelay.verb")
	keyGroup       = attribute.Key("kuberelay.group")
	keyResource    = attribute.Key("kuberelay.resource")
	keySubresource = attribute.Key("kuberelay.subresource")
	keyAuditID     = attribute.Key("kuberelay.audit_id")
	keyUpstream    = attribute.Key("kuberelay.upstream")
	keyOutcome     = attribute.Key("kuberelay.outcome")
	keyAttempts    = attribute.Key("kuberelay.attempts")
	keyCloseReason = attribute.Key("kuberelay.close_reason")
)

// eventHead is the event of an attempt whose response headers have come.
const eventHead = "response headers"

// maxText is how long a client's own text in a span may be.
const maxText = 63

// maxTracestate is how much of a client's tracestate goes on. Where there is
// more, none does.
//
// Source: W3C Trace Context, section 3.3.1.5.
const maxTracestate = 512

// traceRequest begins the span of the request.
func (x *exchange) traceRequest() {
	t := x.h.o.Tracing
	if t == nil {
		return
	}
	ctx := x.r.Context()
	if t.Propagator != nil {
		ctx = t.Propagator.Extract(ctx, traceFields(x.r.Header))
	}
	scheme := "http"
	if x.r.TLS != nil {
		scheme = "https"
	}
	about := append(make([]attribute.KeyValue, 0, 16),
		keyMethod.String(knownMethod(x.r.Method)), keyScheme.String(scheme),
		keyProtocol.String(strings.TrimPrefix(x.r.Proto, "HTTP/")),
		keyListener.String(x.h.o.Listener), keyCluster.String(x.cluster.Name),
	)
	if len(x.auditID) <= maxText { // a single listener's client may have chosen it
		about = append(about, keyAuditID.String(x.auditID))
	}
	if x.caller != nil {
		about = append(about, keyClient.String(x.caller.Client.Name))
	}
	about = x.traceTarget(about)
	_, x.spans.request = t.Tracer.Start(ctx, x.spanName(), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithTimestamp(x.start), trace.WithAttributes(about...))
}

// traceTarget adds what the request asks of the Kubernetes API.
func (x *exchange) traceTarget(about []attribute.KeyValue) []attribute.KeyValue {
	if !x.target.IsResource {
		return about
	}
	group, resource := x.cluster.Groups.Lookup(x.target.Group, x.target.Resource)
	about = append(about, keyVerb.String(x.target.Verb), keyGroup.String(group), keyResource.String(resource))
	if name := x.target.Subresource; plainName(name) {
		about = append(about, keySubresource.String(name))
	}
	if name := namespaceOf(x.decoded); plainName(name) {
		about = append(about, keyNamespace.String(name))
	}
	return about
}

// spanName has few different values, whatever clients send.
func (x *exchange) spanName() string {
	method := knownMethod(x.r.Method)
	if method == otherMethod {
		method = "HTTP"
	}
	if !x.target.IsResource {
		return method
	}
	_, resource := x.cluster.Groups.Lookup(x.target.Group, x.target.Resource)
	return method + " " + resource
}

// endTraceRequest ends the span of the request.
func (x *exchange) endTraceRequest() {
	span := x.spans.request
	if span == nil {
		return
	}
	x.spans.request = nil
	if span.IsRecording() {
		x.traceEnd(span)
	}
	span.End()
}

func (x *exchange) traceEnd(span trace.Span) {
	span.SetAttributes(keyAttempts.Int(x.attempts), keyBytes.Int64(x.bytes))
	if x.upstream != "" {
		span.SetAttributes(keyUpstream.String(x.upstream))
	}
	if x.code != 0 {
		span.SetAttributes(keyStatus.Int(x.code))
	}
	reason := x.closeReason()
	if reason != "" {
		span.SetAttributes(keyCloseReason.String(string(reason)))
	}
	switch broken := x.err != nil && (reason == CloseUpstream || reason == CloseDown); {
	case x.code >= 500:
		failSpan(span, strconv.Itoa(x.code))
	case broken:
		failSpan(span, string(reason))
	}
}

// traceAttempt begins the span of an attempt, and makes it the parent of what
// the API server does.
func (x *exchange) traceAttempt(u *Upstream) {
	if x.spans.request == nil {
		return
	}
	t := x.h.o.Tracing
	ctx := trace.ContextWithSpan(x.r.Context(), x.spans.request)
	about := append(make([]attribute.KeyValue, 0, 12),
		keyMethod.String(knownMethod(x.r.Method)), keyScheme.String(u.URL.Scheme), keyServerAddress.String(u.URL.Hostname()),
		keyCluster.String(x.cluster.Name), keyUpstream.String(u.ID),
	)
	if port, err := strconv.Atoi(u.URL.Port()); err == nil {
		about = append(about, keyServerPort.Int(port))
	}
	if x.attempts > 1 {
		about = append(about, keyResend.Int(x.attempts-1))
	}
	ctx, x.spans.attempt = t.Tracer.Start(ctx, x.spanName(), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(about...))
	if t.Propagator == nil {
		return
	}
	// A copy: an attempt that was left behind may still read the other.
	header := maps.Clone(x.header)
	for _, name := range t.Propagator.Fields() {
		delete(header, http.CanonicalHeaderKey(name)) // of a context that may not be valid
	}
	t.Propagator.Inject(ctx, propagation.HeaderCarrier(header))
	x.header, x.request.Header = header, header
}

// traceVerdict notes how an attempt went, and may be called again when more is
// known. Without a response, resp is nil.
func (x *exchange) traceVerdict(v verdict, resp *http.Response) {
	span := x.spans.attempt
	if span == nil || !span.IsRecording() {
		return
	}
	span.SetAttributes(keyOutcome.String(v.outcome))
	if resp != nil {
		span.AddEvent(eventHead)
		span.SetAttributes(keyStatus.Int(resp.StatusCode), keyProtocol.String(strings.TrimPrefix(resp.Proto, "HTTP/")))
	}
	switch {
	// 4xx are answers, and a client that left needs none.
	case v.outcome == verdictOK.outcome, v.outcome == verdictCancelled.outcome:
	case resp != nil:
		failSpan(span, strconv.Itoa(resp.StatusCode))
	default:
		failSpan(span, v.outcome)
	}
}

// endTraceAttempt ends the span of the attempt under way.
func (x *exchange) endTraceAttempt() {
	if x.spans.attempt != nil {
		x.spans.attempt.End()
		x.spans.attempt = nil
	}
}

// failSpan marks a span as failed, with a reason out of few. An error's text may
// contain someone's name or address.
func failSpan(span trace.Span, reason string) {
	span.SetStatus(codes.Error, "")
	span.SetAttributes(keyErrorType.String(reason))
}

// traceFields is a request's header as propagators read it. Of two traceparent
// fields neither counts; several tracestate fields are one.
type traceFields http.Header

// Get implements [propagation.TextMapCarrier].
func (f traceFields) Get(key string) string {
	values := http.Header(f).Values(key)
	joined := strings.Join(values, ",")
	switch {
	case strings.EqualFold(key, "traceparent") && len(values) > 1,
		strings.EqualFold(key, "tracestate") && len(joined) > maxTracestate:
		return ""
	}
	return joined
}

// Set implements [propagation.TextMapCarrier].
func (f traceFields) Set(key, value string) { http.Header(f).Set(key, value) }

// Keys implements [propagation.TextMapCarrier].
func (f traceFields) Keys() []string {
	keys := make([]string, 0, len(f))
	for key := range f {
		keys = append(keys, key)
	}
	return keys
}

// otherMethod stands for all methods that HTTP does not define.
const otherMethod = "_OTHER"

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return otherMethod
}

// namespaceOf reads the namespace out of a resource's decoded path; "": none.
func namespaceOf(path string) string {
	var buf [maxParts]string
	parts := splitPath(path, &buf)
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return ""
	}
	if parts[0] == "watch" || parts[0] == "proxy" { // the deprecated form
		parts = parts[1:]
	}
	if len(parts) < 2 || parts[0] != "namespaces" {
		return ""
	}
	return parts[1]
}

// plainName reports whether text can be the name of a namespace or a subresource
// (RFC 1123, label): no other text of a client's gets into a span.
func plainName(text string) bool {
	if text == "" || len(text) > maxText {
		return false
	}
	return strings.IndexFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) < 0
}
