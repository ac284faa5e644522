package daemon

import (
	"fmt"
	"reflect"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/proxy"
)

// parts are what a configuration was built into. They do not change: a reload
// builds others, which take over whatever has not changed.
type parts struct {
	config      *config.Configuration
	hash        string // of what hosts have in common
	clusters    []*cluster
	credentials map[string]*credential
	listeners   []*listener
	audit       *audit.Log
	access      *proxy.Access

	updates []update // listeners that stay, and what they are to serve
	fresh   fresh    // what was not taken over
}

// fresh is what was newly made for these parts: to be started, or closed again
// if they cannot be used.
type fresh struct {
	clusters    []*cluster
	credentials []*credential
	listeners   []*listener
	audit       *audit.Log
	names       []string // of what changed, for people
}

// build makes the parts of cfg, and takes over old ones where nothing has
// changed. It starts nothing, and an error leaves everything as it was.
func (d *Daemon) build(cfg *config.Configuration, old *parts) (*parts, error) {
	p := &parts{config: cfg, hash: cfg.Hash(), credentials: make(map[string]*credential)}
	if err := d.fill(p, old); err != nil {
		p.fresh.close()
		return nil, err
	}
	return p, nil
}

func (d *Daemon) fill(p, old *parts) (err error) {
	cfg := p.config
	for _, c := range cfg.Clusters {
		if kept := old.cluster(c.Name); kept != nil && kept.config.Equal(c) {
			p.clusters = append(p.clusters, kept)
			continue
		}
		built, err := d.newCluster(c)
		if err != nil {
			return fmt.Errorf("cluster %s: %w", c.Name, err)
		}
		p.clusters = append(p.clusters, built)
		p.fresh.clusters = append(p.fresh.clusters, built)
		p.fresh.add("cluster", c.Name)
	}
	for _, c := range cfg.Credentials {
		if kept := old.credential(c.Name); kept != nil && reflect.DeepEqual(kept.config, c) && p.sameSource(c, old) {
			p.credentials[c.Name] = kept
			continue
		}
		opened, err := d.openCredential(c)
		if err != nil {
			return fmt.Errorf("credential %s: %w", c.Name, err)
		}
		p.credentials[c.Name] = opened
		p.fresh.credentials = append(p.fresh.credentials, opened)
		p.fresh.add("credential", c.Name)
	}
	if err := d.buildAudit(p, old); err != nil {
		return err
	}
	if p.access, err = d.buildAccess(p); err != nil {
		return err
	}
	return d.buildListeners(p, old)
}

func (d *Daemon) buildAudit(p, old *parts) (err error) {
	if old != nil && old.config.Audit == p.config.Audit {
		p.audit = old.audit
		return nil
	}
	p.audit, err = audit.Open(p.config.Audit, audit.Options{
		Log:     d.log.Named("audit"),
		OnEvent: func(stage audit.Stage) { d.metrics.AuditEvent(string(stage)) },
		OnError: func(error) { d.metrics.AuditError() },
	})
	p.fresh.audit = p.audit
	if old != nil {
		p.fresh.names = append(p.fresh.names, "audit log")
	}
	return err
}

// buildAccess compiles who may do what.
func (d *Daemon) buildAccess(p *parts) (*proxy.Access, error) {
	policies := make(map[string]*policy.Policy, len(p.config.Policies))
	for _, c := range p.config.Policies {
		compiled, err := policy.Compile(c)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", c.Name, err)
		}
		policies[c.Name] = compiled
	}
	a := &proxy.Access{
		Clients:   make(map[string]*proxy.Client, len(p.config.Clients)),
		Revoked:   d.intents.revocations(),
		Listeners: make(map[string]identify.Accepted),
		Audit:     p.audit,
	}
	for i := range p.config.Clients {
		c := &p.config.Clients[i]
		client, err := d.buildClient(p, c, policies)
		if err != nil {
			return nil, fmt.Errorf("client %s: %w", c.Name, err)
		}
		a.Clients[c.Name] = client
	}
	var err error
	a.Directory, err = identify.NewDirectory(p.config.Identities(), identify.Options{Minter: d.minter, OIDC: d.issuers})
	if err != nil {
		return nil, err
	}
	for _, l := range p.config.Listeners {
		if l.Mode == config.Shared {
			a.Listeners[l.Name] = identify.NewAccepted(l.Identify)
		}
	}
	return a, nil
}

func (d *Daemon) buildClient(p *parts, c *config.Client, policies map[string]*policy.Policy) (*proxy.Client, error) {
	tally := d.tallies.of(c.Name, c.Limits)
	client := &proxy.Client{
		Name: c.Name, Grants: make(map[string]*proxy.Grant, len(c.Grants)),
		Limiter: tally.limiter, Seen: &tally.seen, Allowed: c.AllowImpersonation,
	}
	for _, g := range c.Grants {
		on, with, allowing := p.cluster(g.Cluster), p.credentials[g.Credential], policies[g.Policy]
		switch {
		case on == nil:
			return nil, fmt.Errorf("there is no cluster %q", g.Cluster)
		case with == nil:
			return nil, fmt.Errorf("there is no credential %q", g.Credential)
		case allowing == nil:
			return nil, fmt.Errorf("there is no policy %q", g.Policy)
		}
		as, err := auth.NewAs(g.Impersonate)
		if err != nil {
			return nil, fmt.Errorf("grant for cluster %s: %w", g.Cluster, err)
		}
		client.Grants[g.Cluster] = &proxy.Grant{
			Cluster: on.path, Credential: g.Credential, Credentials: with.live,
			As: as, Policy: allowing, PolicyName: g.Policy,
		}
	}
	return client, nil
}

// cluster returns the cluster of a name; nil on nil parts, or if there is none.
func (p *parts) cluster(name string) *cluster {
	if p == nil {
		return nil
	}
	for _, c := range p.clusters {
		if c.config.Name == name {
			return c
		}
	}
	return nil
}

// sameSource reports whether a service account's token comes from the same
// cluster as before: what one cluster has signed is not for another of its
// name.
func (p *parts) sameSource(c auth.CredentialConfig, old *parts) bool {
	return c.ServiceAccountToken == nil ||
		p.cluster(c.ServiceAccountToken.Cluster) == old.cluster(c.ServiceAccountToken.Cluster)
}

// credential returns the credential of a name; nil on nil parts, or if there
// is none.
func (p *parts) credential(name string) *credential {
	if p == nil {
		return nil
	}
	return p.credentials[name]
}

func (f *fresh) add(kind, name string) { f.names = append(f.names, kind+" "+name) }

// close closes what was made and never started.
func (f *fresh) close() {
	for _, c := range f.clusters {
		c.close()
	}
	for _, c := range f.credentials {
		c.close()
	}
	for _, l := range f.listeners {
		l.close()
	}
	_ = f.audit.Close() // nothing was written
}

// needRestart warns of changes in what is only read at start.
func (d *Daemon) needRestart(old, now *config.Configuration) {
	for _, c := range []struct {
		field   string
		changed bool
	}{
		{"admin", !reflect.DeepEqual(old.Admin, now.Admin)},
		{"log.format", old.Log.Format != now.Log.Format},
		{"stateFile", old.StateFile != now.StateFile},
	} {
		if c.changed {
			d.log.Warn("a change of the configuration takes effect at the next restart", zap.String("field", c.field))
		}
	}
}
