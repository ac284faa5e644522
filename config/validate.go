package config

import (
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

// Validate reports everything that is wrong with c, joined by [errors.Join];
// each error names the field it is about. It reads no file and resolves no
// name. Whether a port can be listened on is left to the listening.
func (c *Configuration) Validate() error {
	var p problems
	if len(c.Clusters) == 0 {
		p.add("clusters", errors.New("there must be at least one"))
	}
	names := make([]string, 0, len(c.Clusters))
	for i := range c.Clusters {
		field := fmt.Sprintf("clusters[%d]", i)
		p.unique(field, names, c.Clusters[i].Name)
		names = append(names, c.Clusters[i].Name)
		c.Clusters[i].validate(field, &p)
	}
	if len(c.Listeners) == 0 {
		p.add("listeners", errors.New("there must be at least one"))
	}
	var listeners []string
	for i := range c.Listeners {
		field := fmt.Sprintf("listeners[%d]", i)
		p.unique(field, listeners, c.Listeners[i].Name)
		listeners = append(listeners, c.Listeners[i].Name)
		if !slices.Contains(names, c.Listeners[i].Cluster) {
			p.add(field+".cluster", fmt.Errorf("there is no cluster %q", c.Listeners[i].Cluster))
		}
		c.Listeners[i].validate(field, &p)
	}
	p.add("admin.address", c.Admin.Validate())
	c.Log.validate("log", &p)
	if c.Grace < 0 {
		p.add("grace", fmt.Errorf("%v: must not be negative", c.Grace))
	}
	return errors.Join(p...)
}

func (c *Cluster) validate(field string, p *problems) {
	if c.Connection.Load == nil {
		p.add(field+".connection", errors.New("there is nothing to load it from"))
	}
	for i, server := range c.Servers {
		_, err := ParseServer(server)
		p.add(fmt.Sprintf("%s.servers[%d]", field, i), err)
	}
	switch c.Discovery.Mode {
	case DiscoverNone:
	case DiscoverEndpoints:
		if c.Discovery.Interval <= 0 {
			p.add(field+".discovery.interval", fmt.Errorf("%v: must be more than zero", c.Discovery.Interval))
		}
	default:
		p.add(field+".discovery.mode", oneOf(string(c.Discovery.Mode), string(DiscoverEndpoints), string(DiscoverNone)))
	}
	p.add(field+".balancer", c.Balancer.Validate())
	p.add(field+".healthCheck", c.HealthCheck.Validate())
}

func (l *Listener) validate(field string, p *problems) {
	p.add(field+".address", checkAddress(l.Address))
	if l.Mode != Single {
		p.add(field+".mode", oneOf(string(l.Mode), string(Single)))
	}
	if _, err := filter.New(l.Filter); err != nil {
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

func (l LogConfig) validate(field string, p *problems) {
	p.add(field+".level", oneOf(l.Level, Levels()...))
	p.add(field+".format", oneOf(l.Format, Formats()...))
}

// checkAddress checks a listener's address, see Listener.Address.
func checkAddress(address string) error {
	name, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return checkHostPort(address)
	}
	if strings.TrimLeft(name, "/") == "" || name == "@" {
		return fmt.Errorf("%q: names no socket", address)
	}
	return nil
}

func checkHostPort(address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%q: want HOST:PORT", address)
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

func oneOf(value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%q: want %s", value, strings.Join(allowed, ", "))
}

// problems collects what is wrong.
type problems []error

// add records err, if there is one, as a problem of field, and as several if a
// package's Validate joined them.
func (p *problems) add(field string, err error) {
	if err == nil {
		return
	}
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range list.Unwrap() {
			p.add(field, err)
		}
		return
	}
	*p = append(*p, fmt.Errorf("%s: %w", field, err))
}

func (p *problems) unique(field string, taken []string, name string) {
	switch {
	case name == "":
		p.add(field+".name", errors.New("is missing"))
	case slices.Contains(taken, name):
		p.add(field+".name", fmt.Errorf("%q is taken: names must differ", name))
	}
}
