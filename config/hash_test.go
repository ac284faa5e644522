package config

import (
	"testing"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/gossip"
)

func TestHashIsOfWhatHostsHaveInCommon(t *testing.T) {
	build := func(change func(*Configuration)) *Configuration {
		uid := uint32(1001)
		c := DefaultConfiguration()
		c.Clusters = []Cluster{DefaultCluster("prod", Connection{})}
		c.Policies = []policy.Config{{Name: "read", Rules: []policy.Rule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/version"}}}}}
		c.Clients = []Client{{Name: "alice", Match: []identify.Match{{UID: &uid}}, Grants: []Grant{{Cluster: "prod", Policy: "read"}}}}
		change(&c)
		return &c
	}
	same := build(func(*Configuration) {}).Hash()
	if len(same) != 16 {
		t.Fatalf("hash %q, want 16 digits", same)
	}
	for name, c := range map[string]struct {
		change func(*Configuration)
		same   bool
	}{
		"read once more":       {func(*Configuration) {}, true},
		"another listener":     {func(c *Configuration) { c.Listeners = []Listener{DefaultListener("a", "127.0.0.1:1", "prod")} }, true},
		"another node's name":  {func(c *Configuration) { c.Gossip = gossip.Config{NodeName: "b"} }, true},
		"another state file":   {func(c *Configuration) { c.StateFile = "/x" }, true},
		"another server":       {func(c *Configuration) { c.Clusters[0].Servers = []string{"https://10.0.0.2:6443"} }, false},
		"another uid":          {func(c *Configuration) { *c.Clients[0].Match[0].UID = 7 }, false},
		"another rule":         {func(c *Configuration) { c.Policies[0].Rules[0].Verbs = []string{"*"} }, false},
		"another impersonated": {func(c *Configuration) { c.Clients[0].Grants[0].Impersonate.User = "x" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := build(c.change).Hash(); (got == same) != c.same {
				t.Errorf("hash %s and %s, want the same: %t", got, same, c.same)
			}
		})
	}
}
