// Package tracing makes and sends OpenTelemetry spans where the standard OTEL_
// environment variables ask for them, and does nothing elsewhere.
//
// Spans leave as OTLP over HTTP in protobuf. The exporter of the OpenTelemetry
// project for that brings gRPC along, whether it is used or not; this package
// sends what the project's own encoder makes of spans, and has no more of gRPC
// than the name of a port to warn of.
//
// A collector is never waited for: spans queue up to a bound (2048, or
// OTEL_BSP_MAX_QUEUE_SIZE) and are dropped beyond it.
//
// Sources: the OpenTelemetry specification, "Environment Variable
// Specification" and "OTLP Exporter Configuration"; the OTLP specification 1.x,
// section OTLP/HTTP.
package tracing
