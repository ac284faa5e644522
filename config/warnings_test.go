package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

func TestConfigurationWarnings(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	uid := uint32(1001)
	for _, tc := range []struct {
		name   string
		change func(*Configuration)
		want   []string
	}{
		{"what is shared and complete", func(*Configuration) {}, nil},
		{"a single listener on loopback", func(c *Configuration) {
			c.Listeners = append(c.Listeners, DefaultListener("me", "localhost:8001", "prod"))
		}, []string{`listener "me": every user of this machine can reach localhost:8001 and act as the user of the kubeconfig of cluster "prod"`}},
		{"a single listener on the network", func(c *Configuration) {
			c.Listeners = append(c.Listeners, DefaultListener("me", ":8001", "prod"))
		}, []string{`listener "me": whoever can reach :8001, from this machine or another, acts as the user of the kubeconfig of cluster "prod"`}},
		{"a single listener on an open socket", func(c *Configuration) {
			l := DefaultListener("me", "unix:///s", "prod")
			l.SocketMode = 0o666
			c.Listeners = append(c.Listeners, l)
		}, []string{`listener "me": every user of this machine can connect to its socket and act as the user of the kubeconfig of cluster "prod"`}},
		{"a single listener on a socket of one's own", func(c *Configuration) {
			l := DefaultListener("me", "unix:///s", "prod")
			l.SocketMode = 0o700
			c.Listeners = append(c.Listeners, l)
		}, nil},
		{"a filter that lets more through", func(c *Configuration) {
			l := DefaultListener("me", "unix:///s", "prod")
			l.Filter.RejectPaths = nil
			c.Listeners = append(c.Listeners, l)
		}, []string{`listener "me": ` + filter.RelaxedWarning}},
		{"no filter", func(c *Configuration) {
			l := DefaultListener("me", "unix:///s", "prod")
			l.Filter.Disabled = true
			c.Listeners = append(c.Listeners, l)
		}, []string{`listener "me": ` + filter.DisabledWarning}},
		{"tokens over plain HTTP", func(c *Configuration) { c.Listeners[0].Identify = append(c.Listeners[0].Identify, identify.Bearer) },
			[]string{`listener "team": without tls kubectl sends no token to it; other programs send theirs in the clear`}},
		{"clients without a grant", func(c *Configuration) {
			for name := range strings.SplitSeq("abcdefg", "") {
				c.Clients = append(c.Clients, Client{Name: name, Match: c.Clients[0].Match})
			}
		}, []string{"clients without a grant, which may do nothing: a, b, c, d, e and 2 more"}},
		{"a token that has expired, and no listener for it", func(c *Configuration) {
			c.Clients[0].Match = append(c.Clients[0].Match, identify.Match{TokenSHA256: "x", Expires: now})
		}, []string{"clients with a token that has expired: alice", "no listener identifies by bearer, which clients are to be recognised by: alice"}},
		{"things that are not used", func(c *Configuration) {
			c.Clusters = append(c.Clusters, Cluster{Name: "c"})
			c.Credentials = append(c.Credentials, c.Credentials[0])
			c.Credentials[1].Name = "d"
			c.Policies = append(c.Policies, c.Policies[0])
			c.Policies[1].Name = "e"
		}, []string{`cluster "c" is not used: no listener serves it and nobody is granted it`, `credential "d" is not used`, `policy "e" is not used`}},
		{"gossip that forgets", func(c *Configuration) { c.Gossip.SecretKeyFiles = []string{"/k"} }, []string{StatelessWarning}},
		{"gossip that does not", func(c *Configuration) { c.Gossip.SecretKeyFiles, c.StateFile = []string{"/k"}, "/s" }, nil},
		{"no audit", func(c *Configuration) { c.Audit.File = "" }, []string{"audit has no file: what clients do is not recorded"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Parse([]byte(minimal), "c.yaml")
			if err != nil {
				t.Fatal(err)
			}
			c.Audit.File = "/a"
			c.Listeners, c.Clients = c.Listeners[1:], c.Clients[:1]
			c.Clients[0].Match = []identify.Match{{UID: &uid}}
			tc.change(c)
			if d := cmp.Diff(tc.want, c.Warnings(now)); d != "" {
				t.Errorf("Warnings() (-want +got):\n%s", d)
			}
		})
	}
}

func TestExampleWarnings(t *testing.T) {
	want := []string{`listener "me": every user of this machine can reach 127.0.0.1:8002 and act as the user of the kubeconfig of cluster "staging"`}
	if d := cmp.Diff(want, load(t).Warnings(time.Now())); d != "" {
		t.Errorf("Warnings() (-want +got):\n%s", d)
	}
}

func TestTokenOfAnotherCluster(t *testing.T) {
	c := load(t, replace(t, "{cluster: staging, credential: eks,", "{cluster: staging, credential: deployer,"))
	want := `credential "deployer" is a token of a service account of cluster "prod", and is granted for cluster "staging", which does not know it`
	if got := c.Warnings(time.Now()); len(got) != 3 || got[2] != want {
		t.Errorf("Warnings() = %q, want %q as the third", got, want)
	}
}
