package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/kuberelay/kuberelay/config"
)

// listeners examines where clients will connect. A port is bound for a moment,
// unless a process of ours has it.
func (d *doctor) listeners(ctx context.Context, cfg *config.Configuration, running bool) []Finding {
	var all []Finding
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		f := &findings{of: "listener " + l.Name}
		if path := unixPath(l.Address); path != "" {
			socketDirectory(f, "socket", path)
		} else if !running {
			port(ctx, f, l.Address)
		}
		if l.TLS != nil {
			d.listenerCertificate(f, l)
		}
		all = append(all, f.list...)
	}
	if cfg.Admin.Address != "" && !running {
		f := &findings{of: "admin server"}
		port(ctx, f, cfg.Admin.Address)
		all = append(all, f.list...)
	}
	return all
}

// port tries whether an address can be listened on.
func port(ctx context.Context, f *findings, address string) {
	if _, _, err := net.SplitHostPort(address); err != nil || len(address) > 8 && address[:8] == "systemd:" {
		return // a socket of systemd's, or in the abstract namespace
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		l.Close()
		f.ok("port", "%s is free", address)
		return
	}
	do := "correct the address"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		do = "stop what listens there (ss -ltnp shows it), or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		do = "the address is not one of this host's: ip address shows those"
	case errors.Is(err, syscall.EACCES):
		do = "ports below 1024 need CAP_NET_BIND_SERVICE, or a socket unit of systemd's"
	}
	f.fail("port", do, "%v", err)
}

// listenerCertificate examines what clients will see.
func (d *doctor) listenerCertificate(f *findings, l *config.Listener) {
	const renew = "renew it and write it over the old one: kuberelay reads it again by itself"
	pair, err := tls.LoadX509KeyPair(l.TLS.CertFile, l.TLS.KeyFile)
	if err != nil {
		f.fail("certificate", "name a certificate and its own key, both in PEM", "%s with %s: %v", l.TLS.CertFile, l.TLS.KeyFile, err)
		return
	}
	expires := pair.Leaf.NotAfter
	switch left := expires.Sub(d.now()); {
	case left <= 0:
		f.fail("certificate", renew, "%s %s", l.TLS.CertFile, d.until(expires))
	case left < expirySoon:
		f.warn("certificate", renew, "%s %s", l.TLS.CertFile, d.until(expires))
	default:
		f.ok("certificate", "%s fits its key, and %s", l.TLS.CertFile, d.until(expires))
	}
	if host := clientsCall(l); host != "" && pair.Leaf.VerifyHostname(host) != nil {
		f.warn("certificate", "have one made for it, or give clients a tls-server-name", "%s is not for %s, but for %s", l.TLS.CertFile, host, names(pair.Leaf))
	}
	if l.TLS.ClientCAFile != "" {
		d.clientAuthority(f, l.TLS.ClientCAFile)
	}
}

// clientsCall is the host by which clients know a listener, as far as the
// configuration says.
func clientsCall(l *config.Listener) string {
	if len(l.Hosts) > 0 {
		return l.Hosts[0]
	}
	host, _, err := net.SplitHostPort(l.Address)
	if ip := net.ParseIP(host); err != nil || ip != nil && ip.IsUnspecified() {
		return ""
	}
	return host
}

// clientAuthority examines the authorities of client certificates.
func (d *doctor) clientAuthority(f *findings, path string) {
	rest, err := os.ReadFile(path)
	if err != nil {
		f.fail("client-ca", "name a file in PEM", "%v", err)
		return
	}
	n := 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		n++
		if left := c.NotAfter.Sub(d.now()); left < expirySoon {
			f.warn("client-ca", "add its successor to the file", "the authority %s in %s %s", c.Subject.CommonName, path, d.until(c.NotAfter))
			return
		}
	}
	if n == 0 {
		f.fail("client-ca", "name a file in PEM", "%s holds no certificate", path)
		return
	}
	f.ok("client-ca", "%s in %s", count(n, "client CA certificate"), path)
}
