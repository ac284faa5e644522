package h1

import (
	"errors"
	"fmt"
	"net"
)

// Phase says how far a request came before it failed.
type Phase uint8

// The phases of a request, in order.
const (
	// PhaseRequest: the request itself cannot be sent (a line break in a
	// header, an invalid target), or its context had ended before anything
	// was done. No connection was touched.
	PhaseRequest Phase = iota
	// PhaseDial: no connection could be made (refused, no route, timeout,
	// the proxy on the way said no).
	PhaseDial
	// PhaseHandshake: TLS failed. A certificate that does not verify is a
	// *tls.CertificateVerificationError in the chain.
	PhaseHandshake
	// PhaseWrite: the head of the request, or a body in memory, could not
	// be written.
	PhaseWrite
	// PhaseHeader: no complete, valid response head came. Failures of a
	// streamed request body also end here, as the upstream may answer
	// before it has read all: see ErrRequestBody.
	PhaseHeader
	// PhaseBody: the response body broke off. Only Body.Read, and Read and
	// Write of an upgraded connection, return it.
	PhaseBody
)

var phaseNames = [...]string{"request", "dial", "TLS handshake", "write", "response header", "body"}

// String returns the phase's name as it appears in error texts.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "unknown"
}

var (
	// ErrClosed is in the chain of every error caused by CloseConnections.
	ErrClosed = errors.New("connections to the upstream were closed")
	// ErrHeaderTimeout is in the chain when the response head did not come
	// in time. The *Error then reports Timeout() true.
	ErrHeaderTimeout = errors.New("no response header in time")
	// ErrRequestBody is in the chain when reading the request's own Body
	// failed: the client's fault, not the upstream's.
	ErrRequestBody = errors.New("request body could not be read")
	// ErrMalformed is in the chain when the response violates RFC 9112, or
	// a limit of this package.
	ErrMalformed = errors.New("malformed HTTP response")
)

// Error is what every failure of this package is.
type Error struct {
	Phase Phase
	// Addr is the upstream, host:port.
	Addr string
	// Reused says that the connection had served a request before, so an
	// early EOF or reset may only mean that the upstream was just closing
	// an idle connection.
	Reused bool
	// Written counts the bytes of this request that the kernel took,
	// in wire format (TLS included). Zero means: the upstream has seen
	// nothing, any request can be sent again.
	Written int64
	// Received says that at least one byte of the response was read.
	Received bool
	// Err is the cause; context.Cause of the request's context when that
	// ended first.
	Err error
}

func (e *Error) Error() string {
	if e.Reused {
		return fmt.Sprintf("%s, %s (reused connection): %v", e.Addr, e.Phase, e.Err)
	}
	return fmt.Sprintf("%s, %s: %v", e.Addr, e.Phase, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether a time limit of this package, or the context's
// deadline, was the cause.
func (e *Error) Timeout() bool {
	var ne net.Error
	return errors.Is(e.Err, ErrHeaderTimeout) || errors.As(e.Err, &ne) && ne.Timeout()
}

// NothingWritten reports whether the upstream has provably seen no byte of
// the request, so that sending it elsewhere is safe for every method.
func (e *Error) NothingWritten() bool { return e.Phase < PhaseWrite || e.Written == 0 }

// IdleRace reports the signature of a keep-alive race: a reused connection
// that ended before the first byte of a response.
func (e *Error) IdleRace() bool {
	return e.Reused && !e.Received && (e.Phase == PhaseWrite || e.Phase == PhaseHeader) && isClosedByPeer(e.Err)
}
