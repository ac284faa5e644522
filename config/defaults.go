package config

import (
	"reflect"
	"time"

	"github.com/kuberelay/kuberelay/auth/limit"
	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/health"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

const (
	// DefaultGrace ends the shutdown of an interactive process soon enough
	// that nobody reaches for kill -9, and gives a long LIST time to finish.
	DefaultGrace = 10 * time.Second

	// DefaultDiscoveryInterval is how soon a replaced API server is noticed.
	DefaultDiscoveryInterval = 30 * time.Second

	// DefaultAPIPrefix serves the API at the root.
	DefaultAPIPrefix = "/"

	// DefaultStaticPrefix is kubectl's.
	DefaultStaticPrefix = "/static/"
)

// DefaultCluster returns a cluster of the given name and connection with every
// default.
func DefaultCluster(name string, connection Connection) Cluster {
	return Cluster{
		Name:        name,
		Connection:  connection,
		Discovery:   DefaultDiscovery(),
		Balancer:    balancer.DefaultConfig(),
		HealthCheck: health.DefaultConfig(),
	}
}

// DefaultDiscovery returns discovery as it is unless configured otherwise.
func DefaultDiscovery() Discovery {
	return Discovery{Mode: DiscoverEndpoints, Interval: DefaultDiscoveryInterval}
}

// DefaultListener returns a single-mode listener for a cluster with every
// default of kubectl proxy.
func DefaultListener(name, address, cluster string) Listener {
	return Listener{
		Name:         name,
		Address:      address,
		Cluster:      cluster,
		Mode:         Single,
		Filter:       filter.DefaultConfig(),
		APIPrefix:    DefaultAPIPrefix,
		StaticPrefix: DefaultStaticPrefix,
	}
}

// DefaultLog returns the logging of a process that was not told otherwise.
func DefaultLog() LogConfig {
	return LogConfig{Level: LevelInfo, Format: FormatAuto}
}

// Policies are the names of the balancer's policies, the default first.
func Policies() []string {
	var names []string
	for _, p := range balancer.Policies() {
		names = append(names, string(p))
	}
	return names
}

// SetDefaults sets every default of a cluster in a list.
func (c *Cluster) SetDefaults() { *c = DefaultCluster("", Connection{}) }

// SetDefaults sets every default of a client in a list.
func (c *Client) SetDefaults() { *c = Client{Limits: limit.DefaultConfig()} }

// SetDefaults sets every default of a listener in a list, but for its mode,
// which must be written.
func (l *Listener) SetDefaults() {
	*l = DefaultListener("", "", "")
	l.Mode = ""
}

// complete sets the defaults that depend on other fields, and what is not
// written itself.
func (c *Configuration) complete() {
	for i := range c.Clusters {
		if ref := c.Clusters[i].Kubeconfig; ref.Path != "" {
			c.Clusters[i].Connection = KubeconfigConnection(ref)
		}
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if l.Mode == Shared && reflect.DeepEqual(l.Filter, filter.DefaultConfig()) {
			l.Filter = filter.Config{}
		}
		if _, unix := unixSocket(l.Address); unix && l.SocketMode == 0 {
			l.SocketMode = DefaultSocketMode
		}
	}
}
