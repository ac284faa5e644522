package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// The names that kuberelay proxy gives to its one cluster and one listener.
const (
	ProxyCluster  = "default"
	ProxyListener = "proxy"
)

// DefaultPort is the port of kubectl proxy.
const DefaultPort = 8001

// verboseDebug is the first of kubectl's verbosities (-v) that mean debug. At
// 3, kubectl proxy starts to log what its filter decides.
const verboseDebug = 3

// ProxyFlags are the values of kuberelay proxy's flags, as they were given.
// Those up to KeepAlive are kubectl proxy's, with its names, defaults and
// meaning: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_proxy/.
type ProxyFlags struct {
	Address    string // --address: IP address or name, without a port; IPv6 with or without brackets
	Port       int    // --port: 0 for a free one
	UnixSocket string // --unix-socket: path, or @name; instead of Address and Port

	APIPrefix        string // --api-prefix
	AppendServerPath bool   // --append-server-path
	StaticDir        string // --www: empty for none
	StaticPrefix     string // --www-prefix

	// Comma-separated lists of regular expressions; an empty string is an
	// empty list. See filter.Config.
	AcceptHosts   string // --accept-hosts
	AcceptPaths   string // --accept-paths
	RejectPaths   string // --reject-paths
	RejectMethods string // --reject-methods
	DisableFilter bool   // --disable-filter

	KeepAlive time.Duration // --keepalive: see Listener.KeepAlive

	Servers         []string // --servers: URLs of further API servers
	DiscoverServers bool     // --discover-servers
	Policy          string   // --policy: a balancer.Policy

	AdminAddress string // --admin-address: host:port, empty for none
	LogLevel     string // --log-level
	LogFormat    string // --log-format
	AccessLog    bool   // --access-log
	Verbosity    int    // -v: kubectl's; from 3 on it means --log-level=debug

	Grace time.Duration // --grace-period: see Configuration.Grace
}

// DefaultProxyFlags returns the flags of a command line that has none.
func DefaultProxyFlags() ProxyFlags {
	return ProxyFlags{
		Address:         "127.0.0.1",
		Port:            DefaultPort,
		APIPrefix:       DefaultAPIPrefix,
		StaticPrefix:    DefaultStaticPrefix,
		AcceptHosts:     filter.DefaultAcceptHosts,
		AcceptPaths:     filter.DefaultAcceptPaths,
		RejectPaths:     filter.DefaultRejectPaths,
		RejectMethods:   filter.DefaultRejectMethods,
		DiscoverServers: true,
		Policy:          string(balancer.DefaultConfig().Policy),
		LogLevel:        LevelInfo,
		LogFormat:       FormatAuto,
		Grace:           DefaultGrace,
	}
}

// Configuration returns what the flags ask for, on a cluster that is reached
// through connection, and what the user should be warned of. It loads the
// connection once, to check its server; it contacts nothing.
//
// The error is one of connection.Load, a *[url.Error] of the kubeconfig's server,
// a *[filter.PatternError] whose List is a flag, or else one or more errors (see
// [errors.Join]) of one line each that name the flag.
func (f ProxyFlags) Configuration(connection Connection) (c *Configuration, warnings []string, err error) {
	loaded, err := connection.Load()
	if err != nil {
		return nil, nil, err
	}
	server, err := kubeconfigServer(loaded)
	if err != nil {
		return nil, nil, err
	}
	listener, err := f.listener()
	if err != nil {
		return nil, nil, err
	}
	c = &Configuration{
		Clusters:  []Cluster{f.cluster(connection)},
		Listeners: []Listener{listener},
		Admin:     admin.Config{Address: f.AdminAddress},
		Log:       f.log(),
		Grace:     f.Grace,
	}
	if err := f.check(server, listener); err != nil {
		return nil, nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, nil, err
	}
	return c, f.warnings(server, listener), nil
}

func (f ProxyFlags) cluster(connection Connection) Cluster {
	c := DefaultCluster(ProxyCluster, connection)
	c.Servers = f.Servers
	if !f.DiscoverServers {
		c.Discovery.Mode = DiscoverNone
	}
	c.Balancer.Policy = balancer.Policy(f.Policy)
	return c
}

func (f ProxyFlags) listener() (Listener, error) {
	if f.UnixSocket != "" && f.Port != DefaultPort {
		return Listener{}, errors.New("cannot set --unix-socket and --port at the same time")
	}
	l := DefaultListener(ProxyListener, f.address(), ProxyCluster)
	l.Filter = filter.Config{
		AcceptHosts:   filter.SplitList(f.AcceptHosts),
		AcceptPaths:   filter.SplitList(f.AcceptPaths),
		RejectPaths:   filter.SplitList(f.RejectPaths),
		RejectMethods: filter.SplitList(f.RejectMethods),
		Disabled:      f.DisableFilter,
	}
	l.APIPrefix = slashed(f.APIPrefix)
	l.StaticDir = f.StaticDir
	l.StaticPrefix = slashed(f.StaticPrefix)
	l.AppendServerPath = f.AppendServerPath
	l.KeepAlive = f.KeepAlive
	return l, f.checkFilter(l.Filter)
}

// address is the listener's address. net.JoinHostPort adds brackets to IPv6
// addresses, and kubectl's users, who have to, do so as well.
func (f ProxyFlags) address() string {
	if f.UnixSocket != "" {
		return listen.Unix(f.UnixSocket)
	}
	return net.JoinHostPort(unbracket(f.Address), strconv.Itoa(f.Port))
}

func (f ProxyFlags) log() LogConfig {
	l := LogConfig{Level: f.LogLevel, Format: f.LogFormat, AccessLog: f.AccessLog}
	if f.Verbosity >= verboseDebug {
		l.Level = LevelDebug
	}
	return l
}

// flagOf maps the lists of a filter.PatternError to flags.
var flagOf = map[string]string{
	"acceptHosts":   "--accept-hosts",
	"acceptPaths":   "--accept-paths",
	"rejectPaths":   "--reject-paths",
	"rejectMethods": "--reject-methods",
}

func (f ProxyFlags) checkFilter(c filter.Config) error {
	_, err := filter.New(c)
	var bad *filter.PatternError
	if !errors.As(err, &bad) {
		return err
	}
	return &filter.PatternError{List: flagOf[bad.List], Pattern: bad.Pattern, Err: bad.Err}
}

// check reports what is wrong with single flags, in the words of the command
// line. server is the kubeconfig's.
func (f ProxyFlags) check(server *url.URL, l Listener) error {
	var p problems
	if host := unbracket(f.Address); f.UnixSocket == "" && strings.Contains(host, ":") {
		if _, err := netip.ParseAddr(host); err != nil {
			p.add("--address", fmt.Errorf("%q: want an IP address or a host name; the port goes into --port", f.Address))
		}
	}
	for _, value := range f.Servers {
		u, err := ParseServer(value)
		if err == nil && server.Scheme == "https" && u.Scheme == "http" {
			err = fmt.Errorf("%q: the kubeconfig's server is reached over https, and its credential is never sent over http", value)
		}
		p.add("--servers", err)
	}
	p.add("--policy", oneOf(f.Policy, Policies()...))
	p.add("--api-prefix", checkPrefix(l.APIPrefix))
	if l.StaticDir != "" {
		p.add("--www-prefix", checkPrefix(l.StaticPrefix))
		if l.StaticPrefix == l.APIPrefix {
			p.add("--www-prefix", fmt.Errorf("%q is the value of --api-prefix too: choose another for one of them", l.StaticPrefix))
		}
	}
	p.add("--admin-address", admin.Config{Address: f.AdminAddress}.Validate())
	p.add("--log-level", oneOf(f.LogLevel, Levels()...))
	p.add("--log-format", oneOf(f.LogFormat, Formats()...))
	if f.Grace < 0 {
		p.add("--grace-period", fmt.Errorf("%v: must not be negative", f.Grace))
	}
	return p.orNil()
}

// warnings says, in kubectl's words where it has them, what the flags allow
// that their user may not expect.
func (f ProxyFlags) warnings(server *url.URL, l Listener) []string {
	var w []string
	if !f.AppendServerPath && server.Path != "" && server.Path != "/" {
		w = append(w, "Your kube context contains a server path "+server.Path+
			", use --append-server-path to automatically append the path to each request")
	}
	if f.DisableFilter && f.UnixSocket == "" {
		w = append(w, filter.DisabledWarning)
	}
	if l.Filter.Relaxed() {
		w = append(w, filter.RelaxedWarning)
	}
	if !strings.HasPrefix(l.APIPrefix, "/") {
		w = append(w, fmt.Sprintf("--api-prefix %q matches no request, since it does not begin with a slash", f.APIPrefix))
	}
	if l.StaticDir != "" && !strings.HasPrefix(l.StaticPrefix, "/") {
		w = append(w, fmt.Sprintf("--www-prefix %q matches no request, since it does not begin with a slash", f.StaticPrefix))
	}
	return w
}

func slashed(prefix string) string {
	if strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}

func unbracket(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return host
}
