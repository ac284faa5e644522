package config

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

func configure(t *testing.T, change func(*ProxyFlags)) (*Configuration, []string) {
	t.Helper()
	f := DefaultProxyFlags()
	change(&f)
	c, warnings, err := f.Configuration(at("https://10.0.0.1:6443"))
	if err != nil {
		t.Fatalf("Configuration(): %v", err)
	}
	return c, warnings
}

func TestNoFlagsAreKubectlProxy(t *testing.T) {
	c, warnings := configure(t, func(*ProxyFlags) {})
	want := &Configuration{
		Clusters: []Cluster{{
			Name:        "default",
			Discovery:   Discovery{Mode: "endpoints", Interval: 30 * time.Second},
			Balancer:    balancer.DefaultConfig(),
			HealthCheck: health.DefaultConfig(),
		}},
		Listeners: []Listener{{
			Name:    "proxy",
			Address: "127.0.0.1:8001",
			Cluster: "default",
			Mode:    "single",
			Filter: filter.Config{
				AcceptHosts:   []string{`^localhost$`, `^127\.0\.0\.1$`, `^\[::1\]$`},
				AcceptPaths:   []string{`^.*`},
				RejectPaths:   []string{`^/api/.*/pods/.*/exec`, `^/api/.*/pods/.*/attach`},
				RejectMethods: []string{`^$`},
			},
			APIPrefix:    "/",
			StaticPrefix: "/static/",
		}},
		Log:   LogConfig{Level: "info", Format: "auto"},
		Grace: 10 * time.Second,
	}
	if d := cmp.Diff(want, c, cmpopts.IgnoreTypes(Connection{})); d != "" {
		t.Errorf("Configuration() (-want +got):\n%s", d)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings = %q, want none", warnings)
	}
}

func TestListenerAddress(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ProxyFlags)
		want   string
	}{
		{"another port", func(f *ProxyFlags) { f.Port = 8011 }, "127.0.0.1:8011"},
		{"a free port", func(f *ProxyFlags) { f.Port = 0 }, "127.0.0.1:0"},
		{"a port that net.Listen refuses", func(f *ProxyFlags) { f.Port = 70000 }, "127.0.0.1:70000"},
		{"IPv6", func(f *ProxyFlags) { f.Address = "::1" }, "[::1]:8001"},
		{"IPv6 in brackets", func(f *ProxyFlags) { f.Address = "[::1]" }, "[::1]:8001"},
		{"IPv6 with a zone", func(f *ProxyFlags) { f.Address = "fe80::1%eth0" }, "[fe80::1%eth0]:8001"},
		{"a name", func(f *ProxyFlags) { f.Address = "localhost" }, "localhost:8001"},
		{"every address", func(f *ProxyFlags) { f.Address = "" }, ":8001"},
		{"a socket", func(f *ProxyFlags) { f.UnixSocket = "/run/k.sock" }, "unix:///run/k.sock"},
		{"a relative socket", func(f *ProxyFlags) { f.UnixSocket = "k.sock" }, "unix:k.sock"},
		{"an abstract socket", func(f *ProxyFlags) { f.UnixSocket = "@k" }, "unix:@k"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, _ := configure(t, tc.change)
			if got := c.Listeners[0].Address; got != tc.want {
				t.Errorf("Address = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestEachFlagReachesItsField(t *testing.T) {
	c, _ := configure(t, func(f *ProxyFlags) {
		f.APIPrefix = "/k8s"
		f.AppendServerPath = true
		f.StaticDir = "www"
		f.StaticPrefix = "files"
		f.AcceptHosts = "^a$,b"
		f.AcceptPaths = ""
		f.RejectPaths = "^/x"
		f.RejectMethods = "POST,PUT"
		f.KeepAlive = -time.Second
		f.Servers = []string{"https://10.0.0.2:6443"}
		f.DiscoverServers = false
		f.Policy = "round-robin"
		f.AdminAddress = "127.0.0.1:9801"
		f.LogLevel = "warn"
		f.LogFormat = "json"
		f.AccessLog = true
		f.Grace = 0
	})
	l := c.Listeners[0]
	want := Listener{
		Name: "proxy", Address: "127.0.0.1:8001", Cluster: "default", Mode: Single,
		Filter: filter.Config{
			AcceptHosts: []string{"^a$", "b"}, RejectPaths: []string{"^/x"}, RejectMethods: []string{"POST", "PUT"},
		},
		APIPrefix: "/k8s/", StaticDir: "www", StaticPrefix: "files/", AppendServerPath: true, KeepAlive: -time.Second,
	}
	if d := cmp.Diff(want, l); d != "" {
		t.Errorf("Listener (-want +got):\n%s", d)
	}
	cluster := c.Clusters[0]
	if d := cmp.Diff([]string{"https://10.0.0.2:6443"}, cluster.Servers); d != "" {
		t.Errorf("Servers (-want +got):\n%s", d)
	}
	if cluster.Discovery.Mode != DiscoverNone || cluster.Balancer.Policy != balancer.PolicyRoundRobin {
		t.Errorf("Discovery.Mode, Balancer.Policy = %q, %q, want none, round-robin", cluster.Discovery.Mode, cluster.Balancer.Policy)
	}
	if d := cmp.Diff(admin.Config{Address: "127.0.0.1:9801"}, c.Admin); d != "" {
		t.Errorf("Admin (-want +got):\n%s", d)
	}
	if d := cmp.Diff(LogConfig{Level: "warn", Format: "json", AccessLog: true}, c.Log); d != "" {
		t.Errorf("Log (-want +got):\n%s", d)
	}
	if c.Grace != 0 {
		t.Errorf("Grace = %v, want 0", c.Grace)
	}
}

func TestVerbosityMeansDebugFromThreeOn(t *testing.T) {
	for verbosity, want := range map[int]string{-1: "warn", 0: "warn", 2: "warn", 3: "debug", 9: "debug"} {
		c, _ := configure(t, func(f *ProxyFlags) { f.Verbosity, f.LogLevel = verbosity, "warn" })
		if c.Log.Level != want {
			t.Errorf("-v=%d --log-level=warn: level %s, want %s", verbosity, c.Log.Level, want)
		}
	}
}

func TestBadFlagsAreNamed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ProxyFlags)
		want   []string // how each error begins
	}{
		{"a socket and a port", func(f *ProxyFlags) { f.UnixSocket, f.Port = "s", 9000 }, []string{"cannot set --unix-socket and --port at the same time"}},
		{"an address with a port", func(f *ProxyFlags) { f.Address = "127.0.0.1:80" }, []string{`--address: "127.0.0.1:80"`}},
		{"two servers", func(f *ProxyFlags) { f.Servers = []string{"h:1", "https://h", "https://h/x"} }, []string{`--servers: "h:1"`, `--servers: "https://h/x"`}},
		{"a server over http", func(f *ProxyFlags) { f.Servers = []string{"http://h"} }, []string{`--servers: "http://h": the kubeconfig's server is reached over https`}},
		{"a policy", func(f *ProxyFlags) { f.Policy = "best" }, []string{`--policy: "best": want sticky, least-request, round-robin, random`}},
		{"an API prefix that is a pattern", func(f *ProxyFlags) { f.APIPrefix = "/{k8s}" }, []string{`--api-prefix: "/{k8s}/"`}},
		{"an API prefix that is not clean", func(f *ProxyFlags) { f.APIPrefix = "/a/../b" }, []string{`--api-prefix: "/a/../b/"`}},
		{"a static prefix that is a pattern", func(f *ProxyFlags) { f.StaticDir, f.StaticPrefix = ".", "/{$}/" }, []string{`--www-prefix: "/{$}/"`}},
		{"the same prefix twice", func(f *ProxyFlags) { f.StaticDir, f.APIPrefix = ".", "/static" }, []string{`--www-prefix: "/static/" is the value of --api-prefix too`}},
		{"an admin address", func(f *ProxyFlags) { f.AdminAddress = "9801" }, []string{`--admin-address: "9801"`}},
		{"a level", func(f *ProxyFlags) { f.LogLevel = "all" }, []string{`--log-level: "all": want debug, info, warn, error`}},
		{"a format", func(f *ProxyFlags) { f.LogFormat = "xml" }, []string{`--log-format: "xml": want auto, console, json`}},
		{"a grace period", func(f *ProxyFlags) { f.Grace = -1 }, []string{`--grace-period: -1ns`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := DefaultProxyFlags()
			tc.change(&f)
			c, _, err := f.Configuration(at("https://10.0.0.1:6443"))
			if err == nil {
				t.Fatalf("Configuration() = %+v, want an error", c)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("errors %q, want %d", lines, len(tc.want))
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("error %q, want it to begin with %q", lines[i], want)
				}
			}
		})
	}
}

func TestWhatKubectlAccepts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*ProxyFlags)
	}{
		{"the default port beside a socket", func(f *ProxyFlags) { f.UnixSocket, f.Port = "s", 8001 }},
		{"the same prefix twice, without static files", func(f *ProxyFlags) { f.APIPrefix = "/static/" }},
		{"a static prefix that is a pattern, without static files", func(f *ProxyFlags) { f.StaticPrefix = "/{x" }},
		{"bad patterns of a filter that is disabled", func(f *ProxyFlags) { f.AcceptHosts, f.DisableFilter = "[", true }},
		{"no patterns", func(f *ProxyFlags) { f.AcceptHosts, f.AcceptPaths, f.RejectPaths, f.RejectMethods = "", "", "", "" }},
		{"a server named twice", func(f *ProxyFlags) { f.Servers = []string{"https://10.0.0.1:6443", "https://10.0.0.1:6443/"} }},
	} {
		t.Run(tc.name, func(t *testing.T) { configure(t, tc.change) })
	}
}

func TestBadPatternNamesTheFlag(t *testing.T) {
	for flag, change := range map[string]func(*ProxyFlags){
		"--accept-hosts":   func(f *ProxyFlags) { f.AcceptHosts = "a,[" },
		"--accept-paths":   func(f *ProxyFlags) { f.AcceptPaths = "a,[" },
		"--reject-paths":   func(f *ProxyFlags) { f.RejectPaths = "a,[" },
		"--reject-methods": func(f *ProxyFlags) { f.RejectMethods = "a,[" },
	} {
		f := DefaultProxyFlags()
		change(&f)
		_, _, err := f.Configuration(at("https://h"))
		var bad *filter.PatternError
		if !errors.As(err, &bad) || bad.List != flag || bad.Pattern != "[" {
			t.Errorf("%s=a,[: error %v, want a PatternError of %s and [", flag, err, flag)
		}
		if want := "Error compiling re: error parsing regexp: missing closing ]: `[`"; err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s=a,[: error %q, want it to begin as kubectl's: %q", flag, err, want)
		}
	}
}

func TestKubeconfigServer(t *testing.T) {
	for _, tc := range []struct {
		server, want string // want "": accepted
	}{
		{"https://h:6443", ""},
		{"http://localhost:8080", ""},
		{"https://h/k8s/clusters/c-1", ""},
		{"localhost:8080", ""}, // http, as for kubectl's other commands
		{"ftp://h", `server "ftp://h" of the kubeconfig or of --server: want https://HOST[:PORT]`},
		{"https://", `server "https://" of the kubeconfig or of --server: want https://HOST[:PORT]`},
	} {
		_, _, err := DefaultProxyFlags().Configuration(at(tc.server))
		if got := text(err); got != tc.want {
			t.Errorf("server %q: error %q, want %q", tc.server, got, tc.want)
		}
	}
	var parse *url.Error
	if _, _, err := DefaultProxyFlags().Configuration(at("127.0.0.1:8080")); !errors.As(err, &parse) ||
		!strings.HasPrefix(parse.Err.Error(), "first path segment in URL cannot contain colon") {
		t.Errorf("server without a scheme: error %v, want kubectl's *url.Error", err)
	}
}

func TestServersOverHTTPBesideOne(t *testing.T) {
	f := DefaultProxyFlags()
	f.Servers = []string{"http://localhost:8081"}
	if _, _, err := f.Configuration(at("http://localhost:8080")); err != nil {
		t.Errorf("Configuration() = %v, want nil", err)
	}
}

func TestLoadErrorIsReturnedAsItIs(t *testing.T) {
	broken := errors.New(`context "nope" does not exist`)
	_, _, err := DefaultProxyFlags().Configuration(Connection{Load: func() (*rest.Config, error) { return nil, broken }})
	if err != broken {
		t.Errorf("Configuration() = %v, want %v", err, broken)
	}
}

func TestWarnings(t *testing.T) {
	const path = "https://h/k8s"
	for _, tc := range []struct {
		name, server string
		change       func(*ProxyFlags)
		want         []string
	}{
		{"a server path", path, func(*ProxyFlags) {},
			[]string{"Your kube context contains a server path /k8s, use --append-server-path to automatically append the path to each request"}},
		{"a server path that is appended", path, func(f *ProxyFlags) { f.AppendServerPath = true }, nil},
		{"a slash is no path", "https://h/", func(*ProxyFlags) {}, nil},
		{"no filter", "https://h", func(f *ProxyFlags) { f.DisableFilter = true }, []string{filter.DisabledWarning}},
		{"no filter on a socket", "https://h", func(f *ProxyFlags) { f.DisableFilter, f.UnixSocket = true, "s" }, nil},
		{"no rejected paths", "https://h", func(f *ProxyFlags) { f.RejectPaths = "" }, []string{filter.RelaxedWarning}},
		{"no rejected methods on a socket", "https://h", func(f *ProxyFlags) { f.RejectMethods, f.UnixSocket = "", "s" }, []string{filter.RelaxedWarning}},
		{"prefixes that match nothing", "https://h", func(f *ProxyFlags) { f.APIPrefix, f.StaticPrefix, f.StaticDir = "k8s", "www", "." },
			[]string{
				`--api-prefix "k8s" matches no request, since it does not begin with a slash`,
				`--www-prefix "www" matches no request, since it does not begin with a slash`,
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := DefaultProxyFlags()
			tc.change(&f)
			_, warnings, err := f.Configuration(at(tc.server))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, warnings); d != "" {
				t.Errorf("warnings (-want +got):\n%s", d)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
