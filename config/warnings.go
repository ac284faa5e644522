package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// StatelessWarning is of gossip without a state file. systemd's StateDirectory=
// makes up for it, which only the process that runs knows.
const StatelessWarning = "gossip without a stateFile (or a StateDirectory= of systemd's): a host that starts anew, with no peer there, has forgotten who is revoked and what is drained"

// Warnings returns what c allows that its author may not expect, and what in it
// has no effect, one sentence each. now is for what expires.
func (c *Configuration) Warnings(now time.Time) []string {
	var w []string
	for i := range c.Listeners {
		w = append(w, c.Listeners[i].warnings()...)
	}
	w = append(w, c.clientWarnings(now)...)
	w = append(w, c.unused()...)
	if c.shared() && c.Audit.File == "" {
		w = append(w, "audit has no file: what clients do is not recorded")
	}
	if c.Gossip.Enabled() && c.StateFile == "" {
		w = append(w, StatelessWarning)
	}
	return w
}

func (c *Configuration) shared() bool {
	return slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Mode == Shared })
}

func (l *Listener) warnings() []string {
	var w []string
	warn := func(format string, args ...any) {
		w = append(w, fmt.Sprintf("listener %q: %s", l.Name, fmt.Sprintf(format, args...)))
	}
	if l.Mode == Single {
		switch reach := l.reach(); {
		case reach == reachNetwork:
			warn("whoever can reach %s, from this machine or another, acts as the user of the kubeconfig of cluster %q", l.Address, l.Cluster)
		case reach == reachLoopback:
			warn("every user of this machine can reach %s and act as the user of the kubeconfig of cluster %q", l.Address, l.Cluster)
		case reach == reachUnix && l.SocketMode&0o002 != 0:
			warn("every user of this machine can connect to its socket and act as the user of the kubeconfig of cluster %q", l.Cluster)
		}
		if l.Filter.Disabled {
			warn(filter.DisabledWarning)
		} else if l.Filter.Relaxed() {
			warn(filter.RelaxedWarning)
		}
	}
	if l.Mode == Shared && l.TLS == nil && l.reach() == reachLoopback && l.accepts(identify.Bearer, identify.OIDC) {
		warn("without tls kubectl sends no token to it; other programs send theirs in the clear")
	}
	return w
}

func (l *Listener) accepts(methods ...identify.Method) bool {
	return slices.ContainsFunc(methods, func(m identify.Method) bool { return slices.Contains(l.Identify, m) })
}

func (c *Configuration) clientWarnings(now time.Time) []string {
	var powerless, expired []string
	unheard := map[identify.Method][]string{}
	for i := range c.Clients {
		client := &c.Clients[i]
		if len(client.Grants) == 0 {
			powerless = append(powerless, client.Name)
		}
		for j := range client.Match {
			m := &client.Match[j]
			if !m.Expires.IsZero() && !m.Expires.After(now) {
				expired = append(expired, client.Name)
			}
			if method := methodOf(m); !c.accepts(method) && !slices.Contains(unheard[method], client.Name) && len(unheard[method]) < mostNames+1 {
				unheard[method] = append(unheard[method], client.Name)
			}
		}
	}
	var w []string
	if len(powerless) > 0 {
		w = append(w, "clients without a grant, which may do nothing: "+some(powerless))
	}
	if len(expired) > 0 {
		w = append(w, "clients with a token that has expired: "+some(expired))
	}
	for _, method := range identify.Methods() {
		if len(unheard[method]) > 0 {
			w = append(w, fmt.Sprintf("no listener identifies by %s, which clients are to be recognised by: %s", method, some(unheard[method])))
		}
	}
	return w
}

// methodOf is the method that can bring what m recognises. A user's tokens are
// minted ones of a listener that identifies by uid.
func methodOf(m *identify.Match) identify.Method {
	switch {
	case m.TokenSHA256 != "":
		return identify.Bearer
	case m.Certificate != nil:
		return identify.Certificate
	case m.OIDC != nil:
		return identify.OIDC
	}
	return identify.UID
}

func (c *Configuration) accepts(method identify.Method) bool {
	return slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.accepts(method) })
}

// unused names what nothing refers to, and tokens where they mean nothing.
func (c *Configuration) unused() []string {
	clusters, credentials, policies := map[string]bool{}, map[string]bool{}, map[string]bool{}
	issuers := map[string]string{} // of service accounts' tokens: the cluster
	for i := range c.Credentials {
		if t := c.Credentials[i].ServiceAccountToken; t != nil {
			clusters[t.Cluster], credentials[t.Credential] = true, true
			issuers[c.Credentials[i].Name] = t.Cluster
		}
	}
	for i := range c.Listeners {
		clusters[c.Listeners[i].Cluster] = true
	}
	strangers := map[[2]string]bool{}
	for i := range c.Clients {
		for _, g := range c.Clients[i].Grants {
			clusters[g.Cluster], credentials[g.Credential], policies[g.Policy] = true, true, true
			if issuer, ok := issuers[g.Credential]; ok && issuer != g.Cluster {
				strangers[[2]string{g.Credential, g.Cluster}] = true
			}
		}
	}
	var w []string
	for i := range c.Clusters {
		if !clusters[c.Clusters[i].Name] {
			w = append(w, fmt.Sprintf("cluster %q is not used: no listener serves it and nobody is granted it", c.Clusters[i].Name))
		}
	}
	for i := range c.Credentials {
		if !credentials[c.Credentials[i].Name] {
			w = append(w, fmt.Sprintf("credential %q is not used", c.Credentials[i].Name))
		}
	}
	for i := range c.Policies {
		if !policies[c.Policies[i].Name] {
			w = append(w, fmt.Sprintf("policy %q is not used", c.Policies[i].Name))
		}
	}
	var foreign []string
	for pair := range strangers {
		foreign = append(foreign, fmt.Sprintf("credential %q is a token of a service account of cluster %q, and is granted for cluster %q, which does not know it",
			pair[0], issuers[pair[0]], pair[1]))
	}
	slices.Sort(foreign)
	return append(w, foreign...)
}

// mostNames is how many names a warning lists.
const mostNames = 5

// some lists names, and how many there are beyond the first few.
func some(names []string) string {
	if rest := len(names) - mostNames; rest > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), rest)
	}
	return strings.Join(names, ", ")
}
