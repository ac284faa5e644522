package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kuberelay/kuberelay/internal/joined"
)

// Validate reports everything that is wrong with c, as [Problems]; each
// names the field it is about. It reads no file and resolves no name. Whether a
// port can be listened on is left to the listening.
func (c *Configuration) Validate() error {
	var p problems
	c.validate(false, &p)
	return p.orNil()
}

// validate is Validate and, with files, also looks up users and reads the
// certificates of issuers.
func (c *Configuration) validate(withFiles bool, p *problems) {
	if len(c.Clusters) == 0 {
		p.add("clusters", errors.New("there must be at least one"))
	}
	known := c.addNames(p)
	for i := range c.Clusters {
		c.Clusters[i].validate(fmt.Sprintf("clusters[%d]", i), p)
	}
	c.validateCredentials(known, p)
	c.validatePolicies(p)
	for i := range c.Clients {
		c.Clients[i].validate(fmt.Sprintf("clients[%d]", i), known, p)
	}
	c.validateIdentities(withFiles, p)
	if len(c.Listeners) == 0 {
		p.add("listeners", errors.New("there must be at least one"))
	}
	addresses := map[string]int{}
	for i := range c.Listeners {
		field := fmt.Sprintf("listeners[%d]", i)
		p.addReference(field+".cluster", c.Listeners[i].Cluster, known.clusters)
		c.Listeners[i].validate(field, p)
		c.Listeners[i].claim(addresses, i, p)
	}
	p.add("admin.address", c.Admin.Validate())
	for i, host := range c.Admin.Hosts {
		p.add(fmt.Sprintf("admin.hosts[%d]", i), checkHost(host))
	}
	c.Log.validate("log", p)
	p.addFields("audit", c.Audit.Validate())
	p.addFields("gossip", c.Gossip.Validate())
	if c.Grace < 0 {
		p.add("gracePeriod", fmt.Errorf("%v: must not be negative", c.Grace))
	}
}

// known are the names that others refer to.
type known struct{ clusters, credentials, policies names }

func (c *Configuration) addNames(p *problems) known {
	list := func(length int, name func(int) string) []string {
		all := make([]string, length)
		for i := range all {
			all[i] = name(i)
		}
		return all
	}
	k := known{
		clusters:    p.addNames("cluster", "clusters", list(len(c.Clusters), func(i int) string { return c.Clusters[i].Name })),
		credentials: p.addNames("credential", "credentials", list(len(c.Credentials), func(i int) string { return c.Credentials[i].Name })),
		policies:    p.addNames("policy", "policies", list(len(c.Policies), func(i int) string { return c.Policies[i].Name })),
	}
	p.addNames("client", "clients", list(len(c.Clients), func(i int) string { return c.Clients[i].Name }))
	p.addNames("listener", "listeners", list(len(c.Listeners), func(i int) string { return c.Listeners[i].Name }))
	return k
}

func (c *Cluster) validate(field string, p *problems) {
	if c.Connection.Load == nil {
		p.add(field+".kubeconfig", errors.New("is missing: want {path: FILE, context: NAME}"))
	}
	for i, server := range c.Servers {
		_, err := ParseServer(server)
		p.add(fmt.Sprintf("%s.servers[%d]", field, i), err)
	}
	p.add(field+".discovery.mode", oneOf(string(c.Discovery.Mode), string(DiscoverEndpoints), string(DiscoverNone)))
	if c.Discovery.Mode == DiscoverEndpoints && c.Discovery.Interval <= 0 {
		p.add(field+".discovery.interval", fmt.Errorf("%v: must be more than zero", c.Discovery.Interval))
	}
	p.addBalancer(field, c.Balancer.Validate())
	p.addFields(field+".healthCheck", c.HealthCheck.Validate())
}

// addBalancer records errors of a balancer.Config, of which two parts are
// sections of their own in the file.
func (p *problems) addBalancer(cluster string, err error) {
	for _, err := range joined.Errors(err) {
		field := cluster + ".balancer"
		for _, section := range []string{"breaker.", "retry."} {
			if strings.HasPrefix(err.Error(), section) {
				field = cluster
			}
		}
		p.addFields(field, err)
	}
}

func (l LogConfig) validate(field string, p *problems) {
	p.add(field+".level", oneOf(l.Level, Levels()...))
	p.add(field+".format", oneOf(l.Format, Formats()...))
}
