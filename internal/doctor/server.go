package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// Clock skew beyond these is a warning, and a failure: tokens and certificates
// are judged by time.
const (
	skewWarns = 5 * time.Second
	skewFails = time.Minute
)

// server examines one API server, step by step until one fails. What is wrong
// with one that only the cluster names does no harm: it is not used.
func (d *doctor) server(ctx context.Context, s *site, target *server) []Finding {
	f := &findings{of: "cluster " + s.config.Name + ", " + target.id}
	d.steps(ctx, f, s, target)
	if target.discovered {
		for i := range f.list {
			if f.list[i].Verdict == Failed {
				f.list[i].Verdict = Warning
			}
		}
	}
	return f.list
}

func (d *doctor) steps(ctx context.Context, f *findings, s *site, target *server) {
	dialed, host := target.id, target.url.Hostname()
	via, err := s.endpoint.Proxy(&http.Request{URL: target.url, Header: http.Header{}})
	if err != nil {
		f.fail("egress-proxy", "correct proxy-url in the kubeconfig, or HTTPS_PROXY and NO_PROXY", "%v", err)
		return
	}
	if via != nil {
		dialed, host = hostPort(via), via.Hostname()
		f.ok("egress-proxy", "is %s", via.Redacted())
	}
	if !d.name(ctx, f, host) || !d.connect(ctx, f, dialed) {
		return
	}
	asked := d.now()
	path := s.config.HealthCheck.Path
	if path == "" {
		path = "/readyz"
	}
	a, err := s.askOne(ctx, target, nil, http.MethodGet, path, nil)
	if err != nil {
		d.refusal(f, target, err)
		return
	}
	if a.tls != nil {
		d.certificate(f, s, target, a.tls)
	}
	d.clock(f, a.date, asked, d.now())
	target.ready = readiness(f, path, a, s.lease != nil && describe(s.lease) != "")
}

// name looks a host name up.
func (d *doctor) name(ctx context.Context, f *findings, host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	ctx, cancel := d.step(ctx)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		f.fail("dns", "check the name, and this host's resolver (/etc/resolv.conf, resolvectl)", "%s cannot be resolved: %v", host, err)
		return false
	}
	slices.Sort(addresses)
	f.ok("dns", "%s is %s", host, strings.Join(addresses, ", "))
	return true
}

// connect opens a TCP connection.
func (d *doctor) connect(ctx context.Context, f *findings, address string) bool {
	ctx, cancel := d.step(ctx)
	defer cancel()
	begin := d.now()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		do := "check the address, and the way there"
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			do = "nothing listens there: is the process running, and the port right?"
		case timedOut(err):
			do = "packets vanish: is the host up, and does a firewall let this one through?"
		case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
			do = "this host has no route there: check its routes, VPN and firewall"
		}
		f.fail("tcp", do, "%v", err)
		return false
	}
	took := d.now().Sub(begin)
	c.Close()
	f.ok("tcp", "%s answers after %v", address, took.Round(100*time.Microsecond))
	return true
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// refusal says why there was no answer over a connection that could be opened.
func (d *doctor) refusal(f *findings, target *server, err error) {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		f.fail("tls", "renew it (kubeadm certs renew all), and check both clocks", "the certificate of %s is not valid now: %v", target.id, err)
		return
	}
	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		f.fail("tls", fmt.Sprintf("use a name that it has (%s), or write it as tls-server-name into the kubeconfig", names(name.Certificate)), "the certificate of %s is another one's: %v", target.id, err)
		return
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		f.fail("tls", "is it this cluster's server? The kubeconfig's certificate-authority has to be the one that signed it", "the certificate of %s cannot be verified: %v", target.id, err)
		return
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		f.fail("tls", "is it the API server's port, and https?", "%s does not speak TLS: %v", target.id, err)
		return
	}
	if strings.Contains(err.Error(), "tls: ") {
		f.fail("tls", "the server may refuse the client certificate: compare its authority and expiry", "%s: %v", target.id, err)
		return
	}
	do := "look at the API server's own log"
	if timedOut(err) {
		do = "it accepts connections and does not answer: it may be frozen or overloaded, or something between drops large packets (MTU)"
	}
	f.fail("readyz", do, "no answer: %v", err)
}

// certificate looks at what the server presented. It was verified.
func (d *doctor) certificate(f *findings, s *site, target *server, state *tls.ConnectionState) {
	expires := state.PeerCertificates[0].NotAfter
	for _, link := range state.PeerCertificates {
		if link.NotAfter.Before(expires) {
			expires = link.NotAfter
		}
	}
	verified := "is verified"
	if s.endpoint.TLS != nil && s.endpoint.TLS.InsecureSkipVerify {
		verified = "is not verified"
	}
	if expires.Sub(d.now()) < expirySoon {
		f.warn("tls", "renew it: kubeadm certs renew all, or however this cluster does it", "the certificate of %s %s, and %s", target.id, verified, d.until(expires))
		return
	}
	f.ok("tls", "its certificate %s, and %s", verified, d.until(expires))
}

// names are those that a certificate is for.
func names(c *x509.Certificate) string {
	if c == nil {
		return "none"
	}
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// clock compares the server's clock with this host's, as far as a header with
// whole seconds shows it.
func (d *doctor) clock(f *findings, date string, asked, answered time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return // a gateway that does not say
	}
	var skew time.Duration
	which := "ahead of"
	switch {
	case theirs.After(answered):
		skew = theirs.Sub(answered)
	case theirs.Add(time.Second).Before(asked):
		skew, which = asked.Sub(theirs.Add(time.Second)), "behind"
	}
	const do = "let both hosts keep the time with NTP (timedatectl): tokens and certificates are judged by it"
	text := fmt.Sprintf("its clock is %s %s this host's", duration.HumanDuration(skew), which)
	switch {
	case skew > skewFails:
		f.fail("clock", do, "%s", text)
	case skew > skewWarns:
		f.warn("clock", do, "%s", text)
	default:
		f.ok("clock", "agrees with this host's")
	}
}

// readiness judges the answer to the probe as health checks do, and says whether
// the server can be asked for more.
func readiness(f *findings, path string, a answer, credential bool) bool {
	check := strings.TrimPrefix(path, "/")
	switch {
	case a.code >= 200 && a.code < 300:
		f.ok(check, "says that it is ready")
		return true
	case a.code == http.StatusUnauthorized && credential:
		f.fail(check, "renew the credential of the kubeconfig's user", "the server refuses the credential of the kubeconfig's user (401)")
		return false
	case a.code == http.StatusUnauthorized, a.code == http.StatusForbidden:
		f.warn(check, "bind the probe's user to the ClusterRole system:public-info-viewer, or what has nonResourceURLs ["+path+"]: until then a server that answers counts as ready",
			"the kubeconfig's user may not ask (%d)", a.code)
		return a.code == http.StatusForbidden
	case a.code == http.StatusNotFound:
		f.warn(check, "is it a gateway? Set healthCheck.path to what it has", "there is no %s (404): a server that answers counts as ready", path)
		return true
	}
	f.fail(check, "look at the API server's own log, and at etcd", "the server is not ready (%d)%s", a.code, failing(a.body))
	return true
}

// failing are the failing checks in the body of an answer to /readyz.
func failing(body []byte) string {
	const most, longest = 10, 60
	var all []string
	for line := range strings.Lines(string(body[:min(len(body), 1<<16)])) {
		name, ok := strings.CutPrefix(line, "[-]")
		if ok && len(all) < most {
			name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
			all = append(all, strings.ToValidUTF8(name[:min(len(name), longest)], ""))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return ": " + strings.Join(all, ", ")
}
