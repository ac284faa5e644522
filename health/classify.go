package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

var errCredentialRefused = errors.New("API server refuses the probe's credential")

// probeError is an error whose text is a reason for people.
type probeError struct {
	reason string
	err    error
}

func (e *probeError) Error() string { return e.reason }
func (e *probeError) Unwrap() error { return e.err }

// classify reads what an error of a connection attempt or of an exchange says
// about the upstream: Refused, Unreachable, Unresolved, Timeout, Reset,
// Certificate, Credential, Protocol or Local, with a one-line reason; Pass for
// nil.
func classify(err error) (ResultKind, string) {
	if err == nil {
		return Pass, ""
	}
	if reason, ok := certificateReason(err, time.Now()); ok {
		return Certificate, reason
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return alertKind(op.Err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return Protocol, "does not speak TLS on this port"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return Unresolved, fmt.Sprintf("host name %s not resolved: %s", dns.Name, dns.Err)
	}
	for _, c := range errnoKinds {
		if errors.Is(err, c.errno) {
			return c.kind, c.reason
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return Timeout, "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return Reset, "connection closed before the answer"
	case errors.Is(err, context.Canceled):
		return Local, "canceled"
	}
	return Protocol, oneLine(bare(err).Error())
}

var errnoKinds = []struct {
	errno  syscall.Errno
	kind   ResultKind
	reason string
}{
	{syscall.ECONNREFUSED, Refused, "connection refused"},
	{syscall.EHOSTUNREACH, Unreachable, "no route to host"},
	{syscall.ENETUNREACH, Unreachable, "network unreachable"},
	{syscall.EHOSTDOWN, Unreachable, "host is down"},
	{syscall.ENETDOWN, Unreachable, "network is down"},
	{syscall.EACCES, Unreachable, "connection not permitted (a firewall?)"},
	{syscall.EPERM, Unreachable, "connection not permitted (a firewall?)"},
	{syscall.ENOENT, Unreachable, "unix socket not found"},
	{syscall.ETIMEDOUT, Timeout, "connection timed out"},
	{syscall.ECONNRESET, Reset, "connection reset"},
	{syscall.EPIPE, Reset, "connection closed by the server"},
	{syscall.ECONNABORTED, Reset, "connection aborted"},
	{syscall.EMFILE, Local, "this process has no file descriptor left (raise its limit)"},
	{syscall.ENFILE, Local, "this host has no file descriptor left"},
	{syscall.EADDRNOTAVAIL, Local, "this host has no local port or address left"},
	{syscall.ENOBUFS, Local, "this host has no socket buffer left"},
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// alertKind reads a TLS alert sent by the server. crypto/tls does not export
// the alert's type, only its text.
func alertKind(alert error) (ResultKind, string) {
	text := alert.Error()
	switch strings.TrimPrefix(text, "tls: ") {
	case "bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
		"unknown certificate", "unknown certificate authority", "certificate required", "access denied":
		return Credential, errCredentialRefused.Error() + ": TLS alert \"" + oneLine(text) + "\" about the client certificate"
	}
	return Protocol, "TLS alert from the server: " + oneLine(text)
}

// certificateReason explains why a server's certificate does not verify, and
// what to do.
func certificateReason(err error, now time.Time) (string, bool) {
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("certificate %s is for %s, not for %s: add that name to the server's certificate, or set tls-server-name to one that it has",
			subject(e.Certificate), names(e.Certificate), e.Host), true
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		cert := e.Cert
		if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(v.UnverifiedCertificates) > 0 {
			cert = v.UnverifiedCertificates[0]
		}
		return fmt.Sprintf("certificate %s, issued by %s, is not signed by the cluster's CA: is it a server of this cluster? If so, correct certificate-authority in the kubeconfig",
			subject(cert), issuer(cert)), true
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired && e.Cert != nil {
			if now.Before(e.Cert.NotBefore) {
				return fmt.Sprintf("certificate %s is not valid before %s: check this host's clock", subject(e.Cert), stamp(e.Cert.NotBefore)), true
			}
			return fmt.Sprintf("certificate %s expired on %s: renew it on the server (kubeadm certs renew), or check this host's clock", subject(e.Cert), stamp(e.Cert.NotAfter)), true
		}
		return fmt.Sprintf("certificate %s is not valid: %s", subject(e.Cert), oneLine(e.Error())), true
	}
	if e, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return "certificate cannot be verified: no CA in the kubeconfig, and the system's cannot be read: " + oneLine(e.Error()), true
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate does not verify: " + oneLine(e.Err.Error()), true
	}
	return "", false
}

func subject(c *x509.Certificate) string {
	if c == nil {
		return "of the server"
	}
	return fmt.Sprintf("%q", clip(c.Subject.String()))
}

func issuer(c *x509.Certificate) string {
	if c == nil {
		return "an unknown CA"
	}
	return fmt.Sprintf("%q", clip(c.Issuer.String()))
}

// names lists the first few names that a certificate is valid for.
func names(c *x509.Certificate) string {
	if c == nil {
		return "other names"
	}
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	const most = 8
	switch {
	case len(all) == 0:
		return "no name at all"
	case len(all) > most:
		all = append(all[:most], "…")
	}
	return oneLine(strings.Join(all, ", "))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// bare unwraps a url.Error, which repeats the address.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// oneLine makes text from elsewhere fit for a log line.
func oneLine(s string) string {
	return clip(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s))
}

func clip(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
