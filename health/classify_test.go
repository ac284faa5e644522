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
	"testing"
)

func TestClassify(t *testing.T) {
	dial := func(err error) error {
		return &url.Error{Op: "Get", URL: "https://a", Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}}
	}
	alert := func(text string) error {
		return fmt.Errorf("proxy: %w", &net.OpError{Op: "remote error", Err: errors.New(text)})
	}
	for _, test := range []struct {
		name string
		err  error
		want ResultKind
	}{
		{"no error", nil, Pass},
		{"refused", dial(syscall.ECONNREFUSED), Refused},
		{"no route", dial(syscall.EHOSTUNREACH), Unreachable},
		{"no network", dial(syscall.ENETUNREACH), Unreachable},
		{"rejected by a firewall", dial(syscall.EPERM), Unreachable},
		{"the kernel's own timeout", dial(syscall.ETIMEDOUT), Timeout},
		{"a deadline", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Timeout},
		{"a context's deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), Timeout},
		{"canceled", fmt.Errorf("x: %w", context.Canceled), Local},
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, Reset},
		{"broken pipe", &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, Reset},
		{"end of file", fmt.Errorf("x: %w", io.EOF), Reset},
		{"end of file within", io.ErrUnexpectedEOF, Reset},
		{"no descriptor left", dial(syscall.EMFILE), Local},
		{"no port left", dial(syscall.EADDRNOTAVAIL), Local},
		{"unknown host", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "a", IsNotFound: true}}, Unresolved},
		{"resolver timed out", &net.DNSError{Err: "i/o timeout", Name: "a", IsTimeout: true}, Unresolved},
		{"wrong name", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}}, Certificate},
		{"wrong CA, verified by a callback", x509.UnknownAuthorityError{}, Certificate},
		{"no system roots", x509.SystemRootsError{Err: errors.New("none")}, Certificate},
		{"revoked, says a callback", &tls.CertificateVerificationError{Err: errors.New("revoked")}, Certificate},
		{"not for servers", x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}, Certificate},
		{"expired, certificate unknown", x509.CertificateInvalidError{Reason: x509.Expired}, Certificate},
		{"our certificate refused", alert("tls: bad certificate"), Credential},
		{"our certificate of an unknown CA", alert("tls: unknown certificate authority"), Credential},
		{"a failed handshake", alert("tls: handshake failure"), Protocol},
		{"no TLS", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, Protocol},
		{"anything else", errors.New("malformed HTTP response"), Protocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, reason := classify(test.err)
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if (reason == "") != (test.err == nil) || strings.ContainsAny(reason, "\r\n") {
				t.Errorf("reason %q", reason)
			}
		})
	}
}

func TestForeignTextIsOneShortLine(t *testing.T) {
	_, reason := classify(errors.New("malformed HTTP response \"a\nb\x1b[31m" + strings.Repeat("é", 1000) + "\""))
	if len(reason) > 310 || strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' }) {
		t.Errorf("reason of %d bytes: %q", len(reason), reason)
	}
}
