package health

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// ResultKind classifies a sample: what a probe found, or what the data path saw.
type ResultKind uint8

const (
	// Unprobed: there is no sample yet.
	Unprobed ResultKind = iota
	// Pass: the upstream is ready, or does not say otherwise (403, 404).
	Pass
	// NotReady: it answers, with a status that is not a pass.
	NotReady
	// ShuttingDown: it answers that it is shutting down or not set up yet.
	ShuttingDown
	// Refused: nothing listens on the port.
	Refused
	// Unreachable: no route to the host, or a firewall says no.
	Unreachable
	// Unresolved: the host name could not be resolved.
	Unresolved
	// Timeout: no answer in time, in whatever phase.
	Timeout
	// Reset: the connection broke before the answer was complete.
	Reset
	// Certificate: the server's certificate does not verify.
	Certificate
	// Credential: the server refuses the probe's credential (401, or a TLS
	// alert about the client certificate).
	Credential
	// Protocol: what answers does not speak TLS or HTTP as expected.
	Protocol
	// Local: this host could not try (out of file descriptors or ports), which
	// says nothing about the upstream.
	Local
	// WrongCluster: the server belongs to another cluster, says a [Prober] that
	// can know. An [HTTPProber] does not compare.
	WrongCluster

	resultKinds
)

var resultKindNames = [resultKinds]string{
	"unprobed", "pass", "not-ready", "shutting-down", "refused", "unreachable", "unresolved",
	"timeout", "reset", "certificate", "credential", "protocol", "local", "wrong-cluster",
}

// String returns a short name in lower case, fit for a metric's label.
func (k ResultKind) String() string {
	if k < resultKinds {
		return resultKindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Observation is what the data path saw of an upstream: Pass, Refused,
// Unreachable, Reset, Timeout, ShuttingDown or Certificate.
type Observation = ResultKind

// Result is the outcome of one probe.
type Result struct {
	Kind ResultKind
	// Code is the HTTP status; 0 when there was no answer.
	Code int
	// Err says why there was no usable answer. It holds no secret.
	Err error
	// FailedChecks are the names after "[-]" in the answer's body, in its order.
	FailedChecks []string
	// Note is a remark to a pass, such as "readyz forbidden, treated as ready".
	Note string
	// CredentialErr is why the probe had to go without its credential.
	CredentialErr error
}

// Reason describes the result in one line, path being what was asked for.
func (r Result) Reason(path string) string {
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case r.Kind == Pass && r.Note != "":
		return r.Note
	case r.Kind == Pass:
		return path + " passes"
	case len(r.FailedChecks) > 0:
		return clip(fmt.Sprintf("%s check [%s] failed", strings.TrimPrefix(path, "/"), some(r.FailedChecks)))
	case r.Code != 0:
		return fmt.Sprintf("%s answers HTTP %d", path, r.Code)
	}
	return r.Kind.String()
}

// some names the first few checks: a server that starts fails a dozen.
func some(checks []string) string {
	const shown = 3
	if len(checks) <= shown {
		return strings.Join(checks, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(checks[:shown], " "), len(checks)-shown)
}

// Prober asks one target for one path. Probe is called from several goroutines,
// for one target at most twice at a time; it returns soon after ctx is done.
type Prober interface {
	// Probe asks for path, over a new connection if fresh.
	Probe(ctx context.Context, t Target, path string, fresh bool) Result
	// Forget releases what is kept for a target that is gone.
	Forget(id string)
}
