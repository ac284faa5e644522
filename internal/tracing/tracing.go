package tracing

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// scope is the name under which spans are made.
const scope = "github.com/kuberelay/kuberelay"

// Options are what the environment does not say.
type Options struct {
	// Version is the program's, for the attribute service.version.
	Version string
	// Log hears what becomes of the traces; nil: nobody does.
	Log *zap.Logger
}

// Tracing makes spans and sends them.
type Tracing struct {
	provider  *sdk.TracerProvider
	upload    *uploader
	propagate bool
	version   string
	stop      sync.Once
}

// New returns what the environment asks for: nil, if that is nothing. An error
// says which variable cannot be heeded; there are no traces then. It contacts
// nobody. What the OpenTelemetry SDK has to say goes to Log from then on, in
// the whole process.
func New(o Options) (*Tracing, error) {
	s, err := environment()
	if s == nil || err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = zap.NewNop()
	}
	upload, err := newUploader(s, log)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(upload.life, upload)
	if err != nil {
		upload.cancel()
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("OpenTelemetry", zap.Error(err)) }))
	described, err := describe(upload.life, o.Version)
	if err != nil {
		log.Warn("some of what OTEL_RESOURCE_ATTRIBUTES says is left out", zap.Error(err))
	}
	queue := sdk.NewBatchSpanProcessor(exporter, sdk.WithMaxQueueSize(s.queue),
		sdk.WithMaxExportBatchSize(s.batch), sdk.WithBatchTimeout(s.delay), sdk.WithExportTimeout(s.timeout))
	log.Info("traces are sent", zap.String("collector", s.endpoint.Host))
	return &Tracing{
		provider: sdk.NewTracerProvider(sdk.WithSpanProcessor(queue), sdk.WithResource(described)),
		upload:   upload, propagate: s.propagate, version: o.Version,
	}, nil
}

// describe names the process. What the environment says of it wins.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "kuberelay"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv(),
	)
}

// Tracer makes the spans.
func (t *Tracing) Tracer() trace.Tracer {
	return t.provider.Tracer(scope, trace.WithInstrumentationVersion(t.version))
}

// Propagator carries the context of a trace from the client and to the API
// server (W3C Trace Context); nil: the environment does not want that.
func (t *Tracing) Propagator() propagation.TextMapPropagator {
	if !t.propagate {
		return nil
	}
	return propagation.TraceContext{}
}

// Stop sends what is queued, until ctx ends. With its error some of it was not
// sent. After it nothing of the tracing runs, and spans are dropped.
func (t *Tracing) Stop(ctx context.Context) (err error) {
	t.stop.Do(func() {
		close(t.upload.stopping)
		if err = t.provider.Shutdown(ctx); err != nil {
			err = fmt.Errorf("the last traces were not sent: %w", err)
		}
		t.upload.cancel() // whatever is being sent fails at once
		<-t.upload.stopped
	})
	return err
}
