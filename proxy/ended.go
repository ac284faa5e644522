package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// CloseReason says who ended a request: the annotation kuberelay/close-reason
// of audit events, and a metric's label.
type CloseReason string

// The reasons. A request that came to its own end has none.
const (
	CloseClient     CloseReason = "client"     // the client left
	CloseUpstream   CloseReason = "upstream"   // the API server broke off
	CloseDown       CloseReason = "down"       // the API server is down
	CloseShutdown   CloseReason = "shutdown"   // kuberelay stops
	CloseDrain      CloseReason = "drain"      // an operator drains the API server
	CloseRevoked    CloseReason = "revoked"    // an operator revoked the client
	CloseExpired    CloseReason = "expired"    // what identified the client has expired
	CloseRemoved    CloseReason = "removed"    // a reload removed the client, its evidence, grant or listener
	CloseReload     CloseReason = "reload"     // a reload changed the cluster's settings
	ClosePolicy     CloseReason = "policy"     // a reload narrowed what the client may do
	CloseCredential CloseReason = "credential" // a reload replaced what the cluster is called with
)

// EndedError is why kuberelay ended a request: a reason, and a text for people.
type EndedError struct {
	Reason CloseReason
	why    string
}

// NewEndedError returns an error that ends requests: see [Registry.Review],
// [Registry.EndCluster], [Registry.EndAnonymous] and [Handler.Retire]. Clients
// read why.
func NewEndedError(reason CloseReason, why string) *EndedError { return &EndedError{reason, why} }

func (e *EndedError) Error() string { return e.why }

// endedError returns the error with which kuberelay has ended a request; nil: it
// goes on, or the client left.
func endedError(ctx context.Context) *EndedError {
	if ctx.Err() == nil {
		return nil
	}
	if ended, ok := errors.AsType[*EndedError](context.Cause(ctx)); ok {
		return ended
	}
	return nil
}

// unblock lets the end of a shared listener's request reach a client that does
// not read its answer, or does not send its body. What it returns is called
// when the request is over, and gives the connection back as it was.
func (x *exchange) unblock() (release func()) {
	if x.caller == nil {
		return func() {}
	}
	ctx, control, sends := x.r.Context(), http.NewResponseController(x.w), x.r.ContentLength != 0
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		if endedError(ctx) == nil {
			return
		}
		// On error the connection is hijacked, and the tunnel's to end.
		_ = control.SetWriteDeadline(time.Now().Add(farewell))
		if sends {
			_ = control.SetReadDeadline(time.Now())
		}
	})
	return func() {
		if !stop() {
			<-done
			_ = control.SetWriteDeadline(time.Time{}) // see above
		}
	}
}

// clientLeft reports whether the client has closed the connection, or its side of
// it.
func (x *exchange) clientLeft() bool {
	return x.r.Context().Err() != nil && endedError(x.r.Context()) == nil
}

// closeReason returns who ended the exchange before its own end; "": nobody.
func (x *exchange) closeReason() CloseReason {
	if ended := endedError(x.r.Context()); ended != nil {
		return ended.Reason
	}
	if ended, ok := errors.AsType[*EndedError](x.err); ok {
		return ended.Reason
	}
	switch {
	case x.err == nil:
		return x.closedBy
	case errors.Is(x.err, errCut), errors.Is(x.err, errAbandoned):
		return CloseDown
	case errors.Is(x.err, errDraining):
		return CloseShutdown
	case errors.Is(x.err, errClientLeft), x.clientLeft():
		return CloseClient
	case x.closedBy != "":
		return x.closedBy
	case x.streamed:
		return CloseUpstream
	}
	return "" // the answer says it
}
