package config

import (
	"io/fs"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/gossip"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// Configuration is everything that a daemon is built from.
// [Configuration.Validate] says what is wrong with it.
type Configuration struct {
	// Clusters are the Kubernetes clusters to proxy to; at least one.
	Clusters []Cluster `yaml:"clusters"`

	// Credentials are what clusters are called with on behalf of clients.
	Credentials []auth.CredentialConfig `yaml:"credentials"`

	// Policies are the sets of rules that grants refer to.
	Policies []policy.Config `yaml:"policies"`

	// Clients are who may call a shared listener.
	Clients []Client `yaml:"clients"`

	// Listeners are the addresses that are served; at least one.
	Listeners []Listener `yaml:"listeners"`

	// Gossip lets instances on several hosts share what they know. It is off
	// while the section is absent.
	Gossip gossip.Config `yaml:"gossip"`

	// Admin is the operator's HTTP server: metrics, health and status, and the
	// control socket. Each is off while its address is empty.
	Admin admin.Config `yaml:"admin"`

	// Log says what is logged, and how.
	Log LogConfig `yaml:"log"`

	// Audit is the audit log of shared listeners. It is off without a file.
	Audit audit.Config `yaml:"audit"`

	// StateFile keeps what operators decided (drained servers, revoked
	// clients) over a restart. It is written whole and renamed into place.
	// Default: state.json in systemd's state directory, if there is one; else
	// such decisions end with the process.
	StateFile string `yaml:"stateFile"`

	// Grace is the time that open requests and streams get to end by
	// themselves once a shutdown has begun; what is still open after it is cut.
	// Zero cuts at once. Default 10s.
	Grace time.Duration `yaml:"gracePeriod"`
}

// Client is somebody who may call: what they are recognised by, what they may
// do as whom on which cluster, and how much of it.
type Client struct {
	// Name identifies the client in logs, metrics and audit events.
	Name string `yaml:"name"`

	// Match lists what the client is recognised by: any one match is enough.
	Match []identify.Match `yaml:"match"`

	// Grants are the clusters that the client may use, each at most once.
	Grants []Grant `yaml:"grants"`

	// Limits bound how much the client may ask for, on all clusters together.
	Limits limit.Config `yaml:"limits"`

	// AllowImpersonation is what the client may ask for with --as.
	AllowImpersonation auth.AllowedImpersonation `yaml:"allowImpersonation"`
}

// Grant lets a client use a cluster.
type Grant struct {
	// Cluster is the cluster's name.
	Cluster string `yaml:"cluster"`

	// Credential is the name of the credential that the cluster is called with.
	Credential string `yaml:"credential"`

	// Impersonate is the user as whom the cluster is called. Default: the
	// credential's own user.
	Impersonate auth.Impersonation `yaml:"impersonate"`

	// Policy is the name of the policy that says what is allowed.
	Policy string `yaml:"policy"`
}

// Cluster is one Kubernetes cluster and how its API servers are reached.
type Cluster struct {
	// Name identifies the cluster in logs and metrics, in grants and listeners,
	// and in the paths /clusters/NAME/.
	Name string `yaml:"name"`

	// Kubeconfig is where the first server is read from, how its certificate is
	// verified, the egress proxy, and the credential of health probes and of
	// single listeners. Empty if it comes from a command line.
	Kubeconfig auth.KubeconfigRef `yaml:"kubeconfig"`

	// Connection is the kubeconfig's part: the first server, how its
	// certificate is verified, the egress proxy, and the credential.
	Connection Connection `yaml:"-" json:"-"`

	// Servers are the URLs of further API servers of the same cluster,
	// https://HOST[:PORT]. The kubeconfig's own server is always one more;
	// naming it here again, or one server twice, does no harm.
	Servers []string `yaml:"servers"`

	// Discovery finds further API servers by asking the cluster.
	Discovery Discovery `yaml:"discovery"`

	// Balancer chooses an upstream for each request, and says when to leave
	// one alone and when to try another.
	Balancer balancer.Config `yaml:"balancer"`

	// HealthCheck is the active probe of each upstream.
	HealthCheck health.Config `yaml:"healthCheck"`
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

	// DiscoverNone uses only the servers that are configured.
	DiscoverNone DiscoveryMode = "none"
)

// Discovery finds further API servers of a cluster. An address found this way
// is used only once it has answered with the cluster's certificate; a lookup
// that is forbidden or fails does no harm.
type Discovery struct {
	// Mode is how servers are found: endpoints asks for the addresses that the
	// API servers publish of themselves, none uses only those that are
	// configured. Default endpoints.
	Mode DiscoveryMode `yaml:"mode"`

	// Interval is the time between two lookups, more than zero. Default 30s.
	Interval time.Duration `yaml:"interval"`
}

// Mode is how a listener's clients are told apart.
type Mode string

const (
	// Single does not tell clients apart: whoever reaches the listener is the
	// cluster's connection user, as with kubectl proxy. A client's own
	// Authorization wins over that user's.
	Single Mode = "single"

	// Shared identifies each client, and calls the cluster as that one.
	Shared Mode = "shared"
)

// Listener is an address that is served, and what is served there.
type Listener struct {
	// Name identifies the listener in logs and metrics.
	Name string `yaml:"name"`

	// Address is host:port (an empty host means every address, port 0 a free
	// port), unix:///absolute/path, unix:relative/path, unix:@name for a
	// socket in Linux's abstract namespace, or systemd:NAME for one that was
	// inherited under that name (FileDescriptorName=).
	Address string `yaml:"address"`

	// Cluster is the name of the cluster that is served at the root. A shared
	// listener serves the other clusters under /clusters/NAME/.
	Cluster string `yaml:"cluster"`

	// Mode is how clients are told apart: single does not, so that whoever
	// reaches the listener is the user of the cluster's kubeconfig, as with
	// kubectl proxy; shared identifies each. In a file it must be written.
	Mode Mode `yaml:"mode"`

	// Identify are the kinds of evidence that a shared listener accepts; at
	// least one. What a client presents of another kind is refused.
	Identify []identify.Method `yaml:"identify"`

	// TLS is needed for a shared listener on an address that other machines
	// reach, and to identify by certificate. kubectl sends tokens over TLS
	// alone; other programs send theirs to a plain loopback listener, too.
	TLS *ListenerTLS `yaml:"tls"`

	// Hosts are the host names that a shared listener answers to, without
	// port. Default: its address and the localhost names. Another Host is 421.
	Hosts []string `yaml:"hosts"`

	// SocketMode is the mode of a Unix socket's file, in octal. Default 0700.
	SocketMode SocketMode `yaml:"socketMode"`

	// Filter says which hosts, paths and methods pass a single listener.
	Filter filter.Config `yaml:"filter"`

	// APIPrefix is the path under which the API is served; it ends in a slash.
	// It is taken off before the filter and the upstream see the path, unless
	// it begins with /api: kubectl proxy's rule. What lies outside is answered
	// 404. Default "/".
	APIPrefix string `yaml:"apiPrefix"`

	// StaticDir is a directory whose files are served under StaticPrefix, to
	// every host that the filter accepts. Empty serves none.
	StaticDir string `yaml:"staticDir"`

	// StaticPrefix is the path of the files of StaticDir; it ends in a slash
	// and differs from APIPrefix. Default "/static/".
	StaticPrefix string `yaml:"staticPrefix"`

	// AppendServerPath joins the path of the kubeconfig's server URL before
	// each request's path, after the filter. Otherwise that path is dropped,
	// as kubectl proxy drops it.
	AppendServerPath bool `yaml:"appendServerPath"`

	// KeepAlive is the period of TCP keep-alive probes on the connections of
	// upgraded requests (exec, attach, port-forward). Zero means Go's default,
	// 15s, as with kubectl proxy, whose help says otherwise; negative, none.
	KeepAlive time.Duration `yaml:"keepAlive"`
}

// ListenerTLS is a listener's certificate, and the authority of its clients'.
// The files are read again when they change.
type ListenerTLS struct {
	// CertFile is the certificate chain in PEM, the listener's own first.
	CertFile string `yaml:"certFile"`

	// KeyFile is the certificate's key in PEM.
	KeyFile string `yaml:"keyFile"`

	// ClientCAFile holds the authorities, in PEM, that have signed clients'
	// certificates: an authority of the listener's own, since whoever has a
	// certificate of it can become a client. Needed to identify by
	// certificate.
	ClientCAFile string `yaml:"clientCAFile"`
}

// SocketMode is a file mode, written in octal ("0660").
type SocketMode fs.FileMode

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
	Level string `yaml:"level"`

	// Format is console, for people; json, for machines; or auto, which is
	// console on a terminal and json elsewhere. Default auto.
	Format string `yaml:"format"`

	// AccessLog writes one line for each request, at level info. Default off.
	AccessLog bool `yaml:"accessLog"`
}
