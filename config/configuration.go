package config

import (
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// Configuration is everything that a daemon is built from. [Configuration.Validate]
// tells whether it can be.
type Configuration struct {
	// Clusters are the Kubernetes clusters that are fronted; at least one.
	Clusters []Cluster

	// Listeners are the addresses that are served; at least one.
	Listeners []Listener

	// Admin is the operator's HTTP server: metrics, health and status. It is
	// off while its address is empty.
	Admin admin.Config

	// Log says what is logged, and how.
	Log LogConfig

	// Grace is the time that open requests and streams get to end by
	// themselves once a shutdown has begun; what is still open after it is cut.
	// Zero cuts at once. Default 10s.
	Grace time.Duration
}

// Cluster is one Kubernetes cluster and how its API servers are reached.
type Cluster struct {
	// Name identifies the cluster in logs and metrics, and in a Listener.
	Name string

	// Connection is the kubeconfig's part: the first server, how its
	// certificate is verified, the egress proxy, and the credential.
	Connection Connection

	// Servers are the URLs of further API servers of the same cluster, in the
	// form of [ParseServer]. The connection's own server is always one more;
	// naming it here again, or one server twice, does no harm.
	Servers []string

	// Discovery finds further API servers by asking the cluster.
	Discovery Discovery

	// Balancer chooses an upstream for each request, and says when to leave
	// one alone and when to try another.
	Balancer balancer.Config

	// HealthCheck is the active probe of each upstream.
	HealthCheck health.Config
}

// Connection is a live source of connection parameters. Both functions are
// called again whenever a file may have changed; they are safe for concurrent
// use.
type Connection struct {
	// Load reads the files anew and returns the parameters of one kubeconfig
	// user at one cluster, with every override of the command line applied.
	// The result belongs to the caller.
	Load func() (*rest.Config, error)

	// Files are the paths of the kubeconfig files that Load reads, in order of
	// precedence, including those that do not exist yet. Nil means none.
	Files func() []string
}

// DiscoveryMode says how further API servers of a cluster are found.
type DiscoveryMode string

const (
	// DiscoverEndpoints reads the addresses that the API servers publish of
	// themselves, in the EndpointSlices of the Service default/kubernetes.
	DiscoverEndpoints DiscoveryMode = "endpoints"

	// DiscoverNone leaves it at the servers that are configured.
	DiscoverNone DiscoveryMode = "none"
)

// Discovery finds further API servers of a cluster. An address found so is
// used only once it has answered with the cluster's certificate; that the
// lookup is forbidden or fails harms nothing.
type Discovery struct {
	// Mode is how servers are found. Default DiscoverEndpoints.
	Mode DiscoveryMode

	// Interval is the time between two lookups, more than zero. Default 30s.
	Interval time.Duration
}

// Mode is how a listener's clients are told apart.
type Mode string

// Single does not tell clients apart: whoever reaches the listener is the
// cluster's connection user, as with kubectl proxy. A client's own
// Authorization wins over that user's.
const Single Mode = "single"

// Listener is an address that is served, and what is served there.
type Listener struct {
	// Name identifies the listener in logs and metrics.
	Name string

	// Address is host:port (an empty host means every address, port 0 a free
	// port), unix:///absolute/path, unix:relative/path, or unix:@name for a
	// socket in Linux's abstract namespace.
	Address string

	// Cluster is the name of the cluster that is served at the root.
	Cluster string

	// Mode is how clients are told apart.
	Mode Mode

	// Filter says which hosts, paths and methods pass.
	Filter filter.Config

	// APIPrefix is the path under which the API is served; it ends in a slash.
	// It is taken off before the filter and the upstream see the path, unless
	// it begins with /api: kubectl proxy's rule. What lies outside is answered
	// 404. Default "/".
	APIPrefix string

	// StaticDir is a directory whose files are served under StaticPrefix, to
	// every host that the filter accepts. Empty serves none.
	StaticDir string

	// StaticPrefix is the path of the files of StaticDir; it ends in a slash
	// and differs from APIPrefix. Default "/static/".
	StaticPrefix string

	// AppendServerPath joins the path of the kubeconfig's server URL before
	// each request's path, after the filter. Otherwise that path is dropped,
	// as kubectl proxy drops it.
	AppendServerPath bool

	// KeepAlive is the period of TCP keep-alive probes on the connections of
	// upgraded requests (exec, attach, port-forward). Zero means Go's default,
	// 15s, as with kubectl proxy, whose help says otherwise; negative, none.
	KeepAlive time.Duration
}

// The levels and formats of a log.
const (
	LevelDebug = "debug"
	LevelInfo  = "info"
	LevelWarn  = "warn"
	LevelError = "error"

	FormatAuto    = "auto"
	FormatConsole = "console"
	FormatJSON    = "json"
)

// Levels are the values of LogConfig.Level, the wordiest first.
func Levels() []string { return []string{LevelDebug, LevelInfo, LevelWarn, LevelError} }

// Formats are the values of LogConfig.Format.
func Formats() []string { return []string{FormatAuto, FormatConsole, FormatJSON} }

// LogConfig says what is logged to standard error, and how. No level writes a
// credential.
type LogConfig struct {
	// Level is the least severe level that is written: debug, info, warn or
	// error. Default info, which writes what changes, such as an upstream's
	// state, and nothing for a request that succeeds.
	Level string

	// Format is console, for people; json, for machines; or auto, which is
	// console on a terminal and json elsewhere. Default auto.
	Format string

	// AccessLog writes one line for each request, at level info. Default off.
	AccessLog bool
}
