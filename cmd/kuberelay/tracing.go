package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/internal/tracing"
	"github.com/kuberelay/kuberelay/proxy"
)

// lastSpans is how long the end of the process waits for the collector.
const lastSpans = 2 * time.Second

// traces are OpenTelemetry's, where the environment asks for them. The zero
// value makes none.
type traces struct {
	log *zap.Logger
	on  *tracing.Tracing // nil: off
}

// newTraces goes without traces where the environment asks for what cannot be
// had: a shell's variables may be meant for other programs.
func newTraces(log *zap.Logger) traces {
	on, err := tracing.New(tracing.Options{Version: version(), Log: log.Named("tracing")})
	if err != nil {
		log.Warn("there are no traces", zap.Error(err))
	}
	return traces{log, on}
}

// ofRequests is what makes the spans; nil: nothing does.
func (t traces) ofRequests() *proxy.Tracing {
	if t.on == nil {
		return nil
	}
	return &proxy.Tracing{Tracer: t.on.Tracer(), Propagator: t.on.Propagator()}
}

// end sends what is queued, unless somebody is tired of waiting. It returns
// the program's error, which is not its own.
func (t traces) end(err error) error {
	if _, now := errors.AsType[interrupted](err); now || t.on == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	if lost := t.on.Stop(ctx); lost != nil {
		t.log.Warn("the last spans were not sent", zap.Error(lost))
	}
	return err
}
