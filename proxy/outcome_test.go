package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/kuberelay/kuberelay/internal/h1"
)

func TestJudgeError(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	at := func(phase h1.Phase, written int64, reused, received bool, err error) error {
		return &h1.Error{Phase: phase, Written: written, Reused: reused, Received: received, Err: err}
	}
	badCertificate := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for name, c := range map[string]struct {
		cause error // of the attempt's context
		err   error
		want  verdict
	}{
		"refused":                       {nil, at(h1.PhaseDial, 0, false, false, dial(syscall.ECONNREFUSED)), verdictRefused},
		"no route":                      {nil, at(h1.PhaseDial, 0, false, false, dial(syscall.EHOSTUNREACH)), verdictRefused},
		"dial timeout":                  {nil, at(h1.PhaseDial, 0, false, false, dial(os.ErrDeadlineExceeded)), verdictDialTimeout},
		"handshake timeout":             {nil, at(h1.PhaseHandshake, 300, false, false, context.DeadlineExceeded), verdictDialTimeout},
		"handshake reset":               {nil, at(h1.PhaseHandshake, 300, false, false, syscall.ECONNRESET), verdictRefused},
		"certificate":                   {nil, at(h1.PhaseHandshake, 300, false, false, badCertificate), verdictCertificate},
		"certificate, HTTP/2":           {nil, badCertificate, verdictCertificate},
		"refused, HTTP/2":               {nil, dial(syscall.ECONNREFUSED), verdictRefused},
		"connection lost, HTTP/2":       {nil, errors.New("http2: client connection lost"), verdictLost},
		"nothing written":               {nil, at(h1.PhaseWrite, 0, true, false, syscall.EPIPE), verdictNotSent},
		"idle connection closed":        {nil, at(h1.PhaseHeader, 400, true, false, io.EOF), verdictStale},
		"idle connection reset":         {nil, at(h1.PhaseWrite, 400, true, false, syscall.ECONNRESET), verdictStale},
		"new connection closed":         {nil, at(h1.PhaseHeader, 400, false, false, io.EOF), verdictLost},
		"closed within headers":         {nil, at(h1.PhaseHeader, 400, true, true, io.ErrUnexpectedEOF), verdictLost},
		"header timeout":                {nil, at(h1.PhaseHeader, 400, false, false, h1.ErrHeaderTimeout), verdictTimeout},
		"malformed":                     {nil, at(h1.PhaseHeader, 400, false, true, h1.ErrMalformed), verdictLost},
		"a request that cannot be sent": {nil, at(h1.PhaseRequest, 0, false, false, errors.New("invalid header")), verdictBadRequest},
		"the client's body broke off":   {nil, at(h1.PhaseHeader, 400, false, false, fmt.Errorf("%w: EOF", h1.ErrRequestBody)), verdictBadRequest},
		"the client left":               {context.Canceled, at(h1.PhaseHeader, 400, false, false, context.Canceled), verdictCancelled},
		"abandoned, sent":               {errAbandoned, at(h1.PhaseHeader, 400, false, false, errAbandoned), verdictAbandoned},
		"abandoned, not sent":           {errAbandoned, at(h1.PhaseHandshake, 0, false, false, errAbandoned), verdictUnsentCut},
		"cut":                           {errCut, at(h1.PhaseHeader, 400, false, false, errCut), verdictAbandoned},
		"cut, HTTP/2":                   {errCut, errCut, verdictAbandoned},
		"shutting down":                 {errDraining, at(h1.PhaseHeader, 400, false, false, errDraining), verdictCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if c.cause != nil {
				cancel(c.cause)
			}
			if got := judgeError(ctx, c.err); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
