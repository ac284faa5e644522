package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

func at(server string) Connection {
	return Connection{Load: func() (*rest.Config, error) { return &rest.Config{Host: server}, nil }}
}

func valid() *Configuration {
	return &Configuration{
		Clusters:  []Cluster{DefaultCluster("prod", at("https://h"))},
		Listeners: []Listener{DefaultListener("local", "127.0.0.1:8001", "prod")},
		Log:       DefaultLog(),
		Grace:     DefaultGrace,
	}
}

func TestProblemsKeepTheWordsOfAnError(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	var p problems
	p.add("field", errors.Join(fmt.Errorf("%w, and so %w", a, b), a))
	if d := cmp.Diff("field: a, and so b\nfield: a", text(p.orNil())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Errorf("Validate() = %v, want nil", err)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Configuration)
		want   string // how the error begins
	}{
		{"no listener", func(c *Configuration) { c.Listeners = nil }, "listeners: "},
		{"a cluster without a name", func(c *Configuration) { c.Clusters[0].Name = "" }, "clusters[0].name: is missing\nlisteners[0].cluster: there is no cluster \"prod\""},
		{"two clusters of one name", func(c *Configuration) { c.Clusters = append(c.Clusters, c.Clusters[0]) }, "clusters[1].name: "},
		{"two listeners of one name", func(c *Configuration) {
			c.Listeners = append(c.Listeners, DefaultListener("local", "127.0.0.1:8002", "prod"))
		}, "listeners[1].name: "},
		{"two listeners of one address", func(c *Configuration) {
			c.Listeners = append(c.Listeners, DefaultListener("other", "127.0.0.1:8001", "prod"))
		}, "listeners[1].address: "},
		{"a listener's unknown cluster", func(c *Configuration) { c.Listeners[0].Cluster = "dev" }, "listeners[0].cluster: "},
		{"no connection", func(c *Configuration) { c.Clusters[0].Connection = Connection{} }, "clusters[0].kubeconfig: "},
		{"a server", func(c *Configuration) { c.Clusters[0].Servers = []string{"https://a", "b"} }, "clusters[0].servers[1]: "},
		{"a discovery mode", func(c *Configuration) { c.Clusters[0].Discovery.Mode = "dns" }, "clusters[0].discovery.mode: "},
		{"a discovery interval", func(c *Configuration) { c.Clusters[0].Discovery.Interval = 0 }, "clusters[0].discovery.interval: "},
		{"a policy", func(c *Configuration) { c.Clusters[0].Balancer.Policy = "best" }, "clusters[0].balancer.policy: "},
		{"a health check", func(c *Configuration) { c.Clusters[0].HealthCheck.Path = "readyz" }, "clusters[0].healthCheck.path: "},
		{"an address without a port", func(c *Configuration) { c.Listeners[0].Address = "127.0.0.1" }, "listeners[0].address: "},
		{"a socket without a name", func(c *Configuration) { c.Listeners[0].Address = "unix:///" }, "listeners[0].address: "},
		{"a mode", func(c *Configuration) { c.Listeners[0].Mode = "open" }, "listeners[0].mode: "},
		{"a pattern", func(c *Configuration) { c.Listeners[0].Filter.AcceptHosts = []string{"("} }, "listeners[0].filter.acceptHosts: "},
		{"an API prefix without a slash", func(c *Configuration) { c.Listeners[0].APIPrefix = "/k8s" }, "listeners[0].apiPrefix: "},
		{"an API prefix with braces", func(c *Configuration) { c.Listeners[0].APIPrefix = "/{x}/" }, "listeners[0].apiPrefix: "},
		{"an API prefix that is not clean", func(c *Configuration) { c.Listeners[0].APIPrefix = "/a//b/" }, "listeners[0].apiPrefix: "},
		{"the same prefix twice", func(c *Configuration) { c.Listeners[0].StaticDir, c.Listeners[0].StaticPrefix = ".", "/" }, "listeners[0].staticPrefix: "},
		{"an admin address", func(c *Configuration) { c.Admin.Address = "9801" }, "admin.address: "},
		{"a host with a port", func(c *Configuration) { c.Admin.Hosts = []string{"bastion-1", "bastion-1:9801"} }, "admin.hosts[1]: "},
		{"a log level", func(c *Configuration) { c.Log.Level = "all" }, "log.level: "},
		{"a log format", func(c *Configuration) { c.Log.Format = "xml" }, "log.format: "},
		{"a grace time", func(c *Configuration) { c.Grace = -time.Second }, "gracePeriod: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := valid()
			tc.change(c)
			err := c.Validate()
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Count(err.Error(), "\n") != strings.Count(tc.want, "\n") {
				t.Errorf("Validate() = %v, want only an error that begins with %q", err, tc.want)
			}
		})
	}
}

func TestNothingIsNotEnough(t *testing.T) {
	err := new(Configuration).Validate()
	for _, want := range []string{"clusters: there must be at least one", "listeners: there must be at least one"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want %q in it", err, want)
		}
	}
}

func TestValidateReportsEverything(t *testing.T) {
	c := valid()
	c.Clusters[0].Servers = []string{"a", "https://b", "https://c/d"}
	c.Listeners[0].APIPrefix = ""
	c.Log.Level = ""
	c.Clusters[0].Balancer.Retry.MaxAttempts = 0
	c.Clusters[0].Balancer.Breaker.Window = 0
	var fields []string
	for line := range strings.Lines(c.Validate().Error()) {
		field, _, _ := strings.Cut(line, ":")
		fields = append(fields, field)
	}
	want := []string{"clusters[0].servers[0]", "clusters[0].servers[2]", "clusters[0].breaker.window", "clusters[0].retry.maxAttempts", "listeners[0].apiPrefix", "log.level"}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("fields in error (-want +got):\n%s", d)
	}
}

func TestAddressesThatAreValid(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1:8001", "[::1]:0", ":8001", "localhost:http", "unix:///run/k.sock", "unix:k.sock", "unix:@k",
		"127.0.0.1:70000", // left to net.Listen, whose error is kubectl's
	} {
		if err := checkAddress(address); err != nil {
			t.Errorf("checkAddress(%q) = %v, want nil", address, err)
		}
	}
}

func TestPrefixesThatAreValid(t *testing.T) {
	for _, prefix := range []string{"/", "/k8s/", "/a/b/", "k8s/", "/a b/", "/%2F/"} {
		if err := checkPrefix(prefix); err != nil {
			t.Errorf("checkPrefix(%q) = %v, want nil", prefix, err)
		}
	}
}
