package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/logging"
)

// kubectlCodes is the annotation of a command whose exit codes are kubectl's.
const kubectlCodes = "kuberelay/kubectl-exit-codes"

const proxyLong = `Creates a proxy server between localhost and all Kubernetes API servers of a
cluster, as kubectl proxy does for one of them. Requests carry the credential of
the kubeconfig's current user, so whoever can reach the proxy acts as that user.

The API servers are the kubeconfig's own, those given with --servers, and those
that the cluster names in the endpoints of its Service default/kubernetes. Each
is checked for health; when one fails, requests go to the others.

The kubeconfig and the token and certificate files that it names are read again
when they change. SIGTERM, SIGINT and SIGHUP let requests in flight finish
within the grace period; a second one ends the process at once.`

// The command's name stands for COMMAND.
const proxyExample = `# Serve the API servers of the current context's cluster on 127.0.0.1:8001
# You can get pods info with 'curl localhost:8001/api/v1/pods'
COMMAND

# Name further API servers of the same cluster
COMMAND --servers=https://10.0.0.11:6443,https://10.0.0.12:6443

# Serve another context's cluster on an arbitrary local port
# The chosen port is printed on the first line of output
COMMAND --port=0 --context=staging

# Serve the API at a different root
# You can get pods info with 'curl localhost:8001/custom/api/v1/pods'
COMMAND --api-prefix=/custom/

# Serve part of the API and also some static files, from ./local/www/
COMMAND --www=./local/www/ --www-prefix=/static/ --api-prefix=/api/

# Let kubectl exec and attach through, which are rejected by default
COMMAND --reject-paths=''

# Watch the API servers: metrics at /metrics, their state at /api/v1/status
COMMAND --admin-address=127.0.0.1:9801`

// newProxy returns the command that stands in for kubectl proxy.
func newProxy(s streams) *cobra.Command {
	flags := config.DefaultProxyFlags()
	var conn connection
	var unheeded unheededFlags
	cmd := &cobra.Command{
		Use:         "proxy [--port=PORT] [--servers=URL,URL] [--context=NAME] [options]",
		Short:       "Serve the Kubernetes API from all API servers of a cluster",
		Long:        proxyLong,
		Example:     proxyExample,
		Args:        cobra.ArbitraryArgs, // kubectl proxy ignores them, too
		Annotations: map[string]string{kubectlCodes: "true"},
		RunE: func(_ *cobra.Command, args []string) error {
			warnings := unheeded.warnings()
			if len(args) > 0 {
				warnings = append(warnings, fmt.Sprintf("arguments have no effect, as with kubectl proxy: %q", args))
			}
			return runProxy(s, flags, &conn, warnings)
		},
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
	}
	addGroup(cmd, "Proxy Options", func(fs *pflag.FlagSet) { addServingFlags(fs, &flags) })
	addGroup(cmd, "Upstream Options", func(fs *pflag.FlagSet) { addUpstreamFlags(fs, &flags) })
	addGroup(cmd, "Observability Options", func(fs *pflag.FlagSet) { addObservabilityFlags(fs, &flags) })
	addGroup(cmd, "Connection Options, as of kubectl", func(fs *pflag.FlagSet) { conn.addFlags(fs, cmd.Flags()) })
	unheeded.add(cmd.Flags())
	completeProxyFlags(cmd, &conn)
	return cmd
}

func addServingFlags(fs *pflag.FlagSet, f *config.ProxyFlags) {
	fs.StringVar(&f.Address, "address", f.Address, "The IP address or host name on which to serve. Only loopback addresses keep other machines out.")
	fs.IntVarP(&f.Port, "port", "p", f.Port, "The port on which to serve. Set to 0 to pick a random port.")
	fs.StringVarP(&f.UnixSocket, "unix-socket", "u", f.UnixSocket, "Unix socket on which to serve, in place of a port. @NAME is one in Linux's abstract namespace.")
	fs.StringVar(&f.APIPrefix, "api-prefix", f.APIPrefix, "Prefix to serve the proxied API under. It is not part of the path that reaches the API server, unless it begins with /api.")
	fs.BoolVar(&f.AppendServerPath, "append-server-path", f.AppendServerPath, "If true, puts the path of the kubeconfig's server URL before the path of each request.")
	fs.StringVarP(&f.StaticDir, "www", "w", f.StaticDir, "Also serve static files from the given directory under the specified prefix.")
	fs.StringVarP(&f.StaticPrefix, "www-prefix", "P", f.StaticPrefix, "Prefix to serve static files under, if a static file directory is specified.")
	fs.StringVar(&f.AcceptHosts, "accept-hosts", f.AcceptHosts, "Comma-separated regular expressions for hosts that the proxy should accept: the host that a request names, not the client's address.")
	fs.StringVar(&f.AcceptPaths, "accept-paths", f.AcceptPaths, "Comma-separated regular expressions for paths that the proxy should accept.")
	fs.StringVar(&f.RejectPaths, "reject-paths", f.RejectPaths, "Comma-separated regular expressions for paths that the proxy should reject, even if accepted by --accept-paths.")
	fs.StringVar(&f.RejectMethods, "reject-methods", f.RejectMethods, "Comma-separated regular expressions for HTTP methods that the proxy should reject (example --reject-methods='POST,PUT,PATCH').")
	fs.BoolVar(&f.DisableFilter, "disable-filter", f.DisableFilter, "If true, accept all hosts, paths and methods. This is dangerous, and can leave you vulnerable to XSRF attacks, when used with an accessible port.")
	fs.DurationVar(&f.KeepAlive, "keepalive", f.KeepAlive, "Period of TCP keep-alive probes on the connections of exec, attach and port-forward. 0 means 15s, a negative value disables them.")
	fs.DurationVar(&f.Grace, "grace-period", f.Grace, "Time that requests in flight get to finish after SIGTERM, SIGINT or SIGHUP.")
}

func addUpstreamFlags(fs *pflag.FlagSet, f *config.ProxyFlags) {
	fs.StringSliceVar(&f.Servers, "servers", f.Servers, "URLs of further API servers of the same cluster, verified with the kubeconfig's certificate authority. Comma-separated; can be repeated.")
	fs.BoolVar(&f.DiscoverServers, "discover-servers", f.DiscoverServers, "If true, use the API servers that the cluster names in the endpoints of its Service default/kubernetes, too. Those that cannot be reached from here do no harm.")
	fs.StringVar(&f.Policy, "policy", f.Policy, "How API servers are chosen. One of ("+strings.Join(config.Policies(), "|")+"). sticky keeps to one server for as long as it is well and not overloaded.")
}

func addObservabilityFlags(fs *pflag.FlagSet, f *config.ProxyFlags) {
	fs.StringVar(&f.AdminAddress, "admin-address", f.AdminAddress, "HOST:PORT on which to serve /metrics, /healthz, /readyz and /api/v1/status. Empty: nowhere.")
	fs.BoolVar(&f.AccessLog, "access-log", f.AccessLog, "If true, log a line for each request, also for one that is refused.")
	fs.StringVar(&f.LogLevel, "log-level", f.LogLevel, "Least severe level to log. One of ("+strings.Join(config.Levels(), "|")+"). No level logs credentials.")
	fs.StringVar(&f.LogFormat, "log-format", f.LogFormat, "Format of the log. One of ("+strings.Join(config.Formats(), "|")+"). auto is console on a terminal, else json.")
	fs.IntVarP(&f.Verbosity, "v", "v", f.Verbosity, "kubectl's number for the log level verbosity. 3 and more mean --log-level=debug.")
}

// unheededFlags are global flags of kubectl that change nothing here, as most
// of them change nothing for kubectl proxy. Scripts may pass them.
type unheededFlags struct {
	matchServerVersion bool
	profile            string
}

func (u *unheededFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&u.matchServerVersion, "match-server-version", false, "")
	fs.StringVar(&u.profile, "profile", "none", "")
	fs.String("profile-output", "profile.pprof", "")
	fs.String("cache-dir", "", "")
	fs.String("kuberc", "", "")
	fs.String("vmodule", "", "")
	fs.Bool("warnings-as-errors", false, "")
	fs.Duration("log-flush-frequency", 5*time.Second, "")
}

// warnings tell of the flags that do change something for kubectl proxy.
func (u *unheededFlags) warnings() []string {
	var w []string
	if u.matchServerVersion {
		w = append(w, "--match-server-version has no effect: kuberelay has no version in common with API servers")
	}
	if u.profile != "none" {
		w = append(w, "--profile has no effect")
	}
	return w
}

// runProxy serves until it is told to stop. Warnings come before the line on
// standard output, as with kubectl proxy.
func runProxy(s streams, flags config.ProxyFlags, conn *connection, warnings []string) error {
	cfg, more, err := flags.Configuration(config.Connection{Load: conn.load, Files: conn.files})
	if err != nil {
		return err
	}
	log, level, err := logging.New(s.err, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	restore, err := logging.CaptureLibraries(log)
	if err != nil {
		return err
	}
	defer restore()
	for _, list := range [][]string{warnings, conn.warnings(), more} {
		for _, text := range list {
			log.Warn(text)
		}
	}
	traces := newTraces(log)
	p := program{
		config: cfg, log: log,
		options: daemon.Options{Log: log, Level: &level, Version: version(), Tracing: traces.ofRequests()},
		served: func(d *daemon.Daemon) error { // the line is kubectl proxy's: programs learn the port from it
			_, err := fmt.Fprintf(s.out, "Starting to serve on %s\n", d.Addr(config.ProxyListener))
			return err
		},
	}
	return traces.end(p.run())
}
