package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

func (l *Listener) validate(field string, p *problems) {
	p.add(field+".address", checkAddress(l.Address))
	p.add(field+".mode", oneOf(string(l.Mode), string(Single), string(Shared)))
	if _, unix := unixSocket(l.Address); l.SocketMode != 0 && !unix {
		p.add(field+".socketMode", errors.New("is for Unix sockets: leave it out, or use an address unix:///PATH"))
	}
	switch l.Mode {
	case Single:
		l.validateSingle(field, p)
	case Shared:
		l.validateShared(field, p)
	}
}

func (l *Listener) validateSingle(field string, p *problems) {
	const why = "is for shared listeners: a single one does not tell clients apart"
	if l.Identify != nil {
		p.add(field+".identify", errors.New(why))
	}
	if l.TLS != nil {
		p.add(field+".tls", errors.New("is for shared listeners: a single one is plain HTTP, as kubectl proxy is"))
	}
	if l.Hosts != nil {
		p.add(field+".hosts", errors.New("is for shared listeners: a single one has filter.acceptHosts"))
	}
	_, err := filter.New(l.Filter)
	if pattern, ok := errors.AsType[*filter.PatternError](err); ok {
		p.add(field+".filter."+pattern.List, fmt.Errorf("%q: %w", shorten(pattern.Pattern), pattern.Err))
	} else {
		p.add(field+".filter", err)
	}
	p.add(field+".apiPrefix", checkPrefix(l.APIPrefix))
	if l.StaticDir == "" {
		return
	}
	p.add(field+".staticPrefix", checkPrefix(l.StaticPrefix))
	if l.StaticPrefix == l.APIPrefix {
		p.add(field+".staticPrefix", fmt.Errorf("%q is the API's prefix too: choose another for one of them", l.StaticPrefix))
	}
}

func (l *Listener) validateShared(field string, p *problems) {
	l.validateIdentify(field, p)
	l.validateTLS(field, p)
	for i, host := range l.Hosts {
		p.add(fmt.Sprintf("%s.hosts[%d]", field, i), checkHost(host))
	}
	if !reflect.DeepEqual(l.Filter, filter.Config{}) {
		p.add(field+".filter", errors.New("is for single listeners: what the clients of a shared one may do is said by their policies"))
	}
	if l.APIPrefix != DefaultAPIPrefix {
		p.add(field+".apiPrefix", errors.New("is for single listeners: a shared one serves its cluster at / and the others under /clusters/NAME/"))
	}
	if l.StaticDir != "" {
		p.add(field+".staticDir", errors.New("is for single listeners: a shared one serves the API alone"))
	}
}

func (l *Listener) validateIdentify(field string, p *problems) {
	if len(l.Identify) == 0 {
		p.add(field+".identify", errors.New("is missing: a shared listener needs at least one of "+strings.Join(methods(), ", ")))
	}
	for i, method := range l.Identify {
		at := fmt.Sprintf("%s.identify[%d]", field, i)
		switch {
		case slices.Contains(l.Identify[:i], method):
			p.add(at, fmt.Errorf("%q is there already", shorten(string(method))))
		case method == identify.UID && l.reach() == reachNetwork:
			p.add(at, errors.New("the user of a process can be known on Unix sockets and loopback addresses only"))
		case method == identify.Certificate && (l.TLS == nil || l.TLS.ClientCAFile == ""):
			p.add(at, errors.New("needs tls.clientCAFile, the authority of the clients' certificates"))
		default:
			p.add(at, oneOf(string(method), methods()...))
		}
	}
}

func (l *Listener) validateTLS(field string, p *problems) {
	if l.TLS == nil {
		if l.reach() == reachNetwork {
			p.add(field+".tls", errors.New("is missing: a shared listener that other machines can reach needs a certificate"))
		}
		return
	}
	if l.TLS.CertFile == "" {
		p.add(field+".tls.certFile", errors.New("is missing"))
	}
	if l.TLS.KeyFile == "" {
		p.add(field+".tls.keyFile", errors.New("is missing"))
	}
	if l.TLS.ClientCAFile != "" && !slices.Contains(l.Identify, identify.Certificate) {
		p.add(field+".tls.clientCAFile", errors.New("has no effect: identify does not list certificate"))
	}
}

// claim records that a listener has its address, and that another had it
// before.
func (l *Listener) claim(addresses map[string]int, index int, p *problems) {
	address := l.Address
	if host, port, err := net.SplitHostPort(address); err == nil && l.reach() <= reachNetwork {
		if port == "0" {
			return // each time another one
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			host = ip.Unmap().String()
		}
		address = net.JoinHostPort(strings.ToLower(host), port)
	} else if socket, ok := unixSocket(address); ok && !strings.HasPrefix(socket, "@") {
		address = "unix:" + path.Clean(socket)
	}
	if first, taken := addresses[address]; taken && l.Address != "" {
		p.add(fmt.Sprintf("listeners[%d].address", index), fmt.Errorf("%q is the address of listeners[%d] already", l.Address, first))
		return
	}
	addresses[address] = index
}

// reach is who can connect to an address, as far as its text tells.
type reach int

const (
	reachLoopback  reach = iota // processes of this machine, by TCP
	reachNetwork                // other machines, or not known not to be
	reachUnix                   // processes of this machine, by a Unix socket
	reachInherited              // known once the socket is there
)

func (l *Listener) reach() reach {
	if strings.HasPrefix(l.Address, inheritedPrefix) {
		return reachInherited
	}
	if _, ok := unixSocket(l.Address); ok {
		return reachUnix
	}
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return reachLoopback // there is nothing to connect to; checkAddress says so
	}
	if strings.EqualFold(host, "localhost") {
		return reachLoopback
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return reachLoopback
	}
	return reachNetwork
}

// CheckBound refuses an address that l's socket turned out to have, by the rules
// for an address that is written: that of an inherited socket, and of a name.
func (l *Listener) CheckBound(a net.Addr) error {
	switch {
	case l.Mode != Shared || listen.Loopback(a):
		return nil
	case l.TLS == nil:
		return fmt.Errorf("listener %q: it is bound to %v, which other machines can reach: a shared listener needs tls there", l.Name, a)
	case l.accepts(identify.UID):
		return fmt.Errorf("listener %q: it is bound to %v, where the user of a process cannot be known: it cannot identify by uid", l.Name, a)
	}
	return nil
}

const (
	unixPrefix      = "unix:"
	inheritedPrefix = "systemd:"
)

// unixSocket returns the path of a Unix socket's address, with @ in front for
// an abstract one.
func unixSocket(address string) (string, bool) {
	name, ok := strings.CutPrefix(address, unixPrefix)
	if rest, absolute := strings.CutPrefix(name, "//"); absolute {
		name = rest
	}
	return name, ok
}

// checkAddress checks a listener's address, see Listener.Address.
func checkAddress(address string) error {
	if name, ok := strings.CutPrefix(address, inheritedPrefix); ok {
		if name == "" || strings.ContainsAny(name, ": \t") {
			return fmt.Errorf("%q: want systemd:NAME, with the FileDescriptorName= of the socket's unit", address)
		}
		return nil
	}
	if name, ok := unixSocket(address); ok {
		if strings.TrimLeft(name, "/") == "" || name == "@" {
			return fmt.Errorf("%q: names no socket", address)
		}
		return nil
	}
	if address == "" {
		return errors.New("is missing: want HOST:PORT, unix:///PATH or systemd:NAME")
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%q: want HOST:PORT", address)
	}
	return nil
}

// checkHost checks a name that a listener or the admin server answers to.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if host == "" || strings.ContainsAny(host, ":/@*[] \t") {
		return fmt.Errorf("%q: want a host name or an IP address, without a port", shorten(host))
	}
	return nil
}

// checkPrefix checks a prefix of the paths that a listener serves. One that
// does not begin with a slash is legal: no path matches it, as in kubectl.
// kubectl panics on those that are refused here.
func checkPrefix(prefix string) error {
	switch {
	case !strings.HasSuffix(prefix, "/"):
		return fmt.Errorf("%q: must end in a slash", prefix)
	case strings.ContainsAny(prefix, "{}"):
		return fmt.Errorf("%q: must not hold braces, which have no meaning here", prefix)
	case strings.HasPrefix(prefix, "/") && prefix != "/" && path.Clean(prefix)+"/" != prefix:
		return fmt.Errorf("%q: would never match, since paths are cleaned first: want %q", prefix, path.Clean(prefix)+"/")
	}
	return nil
}

func methods() []string {
	var all []string
	for _, m := range identify.Methods() {
		all = append(all, string(m))
	}
	return all
}
