package config

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/internal/joined"
)

func (c *Client) validate(field string, known known, p *problems) {
	if len(c.Match) == 0 {
		p.add(field+".match", errors.New("is missing: want at least one thing to recognise the client by"))
	}
	granted := make(map[string]int, len(c.Grants))
	for i := range c.Grants {
		g := &c.Grants[i]
		at := fmt.Sprintf("%s.grants[%d]", field, i)
		if first, twice := granted[g.Cluster]; twice && g.Cluster != "" {
			p.add(at+".cluster", fmt.Errorf("%q is granted by grants[%d] already: a client has one grant for a cluster", shorten(g.Cluster), first))
		} else {
			granted[g.Cluster] = i
		}
		g.validate(at, known, p)
	}
	p.addFields(field+".limits", c.Limits.Validate())
	for i, user := range c.AllowImpersonation.Users {
		p.addEmpty(fmt.Sprintf("%s.allowImpersonation.users[%d]", field, i), user)
	}
	for i, group := range c.AllowImpersonation.Groups {
		p.addEmpty(fmt.Sprintf("%s.allowImpersonation.groups[%d]", field, i), group)
	}
}

func (p *problems) addEmpty(field, value string) {
	if value == "" {
		p.add(field, errors.New("is empty"))
	}
}

func (g *Grant) validate(field string, known known, p *problems) {
	p.addReference(field+".cluster", g.Cluster, known.clusters)
	p.addReference(field+".credential", g.Credential, known.credentials)
	p.addReference(field+".policy", g.Policy, known.policies)
	who := g.Impersonate
	if who.User == "" && (who.UID != "" || len(who.Groups) > 0 || len(who.Extra) > 0) {
		p.add(field+".impersonate.user", errors.New("is missing: uid, groups and extra are a user's"))
		return
	}
	_, err := auth.NewAs(who)
	p.add(field+".impersonate", err)
}

// Identities returns the clients as [identify.NewDirectory] takes them.
func (c *Configuration) Identities() []identify.Client {
	all := make([]identify.Client, len(c.Clients))
	for i := range c.Clients {
		all[i] = identify.Client{Name: c.Clients[i].Name, Match: c.Clients[i].Match}
	}
	return all
}

// validateIdentities checks what clients are recognised by. Without files,
// Unix users and issuers' certificates are assumed to be valid.
func (c *Configuration) validateIdentities(withFiles bool, p *problems) {
	clients := c.Identities()
	issuers := identify.NewIssuers(nil)
	defer issuers.Close()
	options := identify.Options{OIDC: issuers}
	if !withFiles {
		options.LookupUser = placeholders()
		for i := range clients {
			clients[i].Match = withoutFiles(clients[i].Match)
		}
	}
	_, err := identify.NewDirectory(clients, options)
	for _, err := range joined.Errors(err) {
		match, ok := errors.AsType[*identify.MatchError](err)
		switch {
		case !ok:
			p.add("clients", err)
		case match.Match >= 0: // names are addNames's
			p.add(match.Path(), match.Err)
		}
	}
}

// placeholders returns a lookup that knows every user, by IDs that no real
// user has.
func placeholders() func(string) (uint32, error) {
	ids := map[string]uint32{}
	return func(name string) (uint32, error) {
		if _, ok := ids[name]; !ok {
			ids[name] = math.MaxUint32 - 1 - uint32(len(ids))
		}
		return ids[name], nil
	}
}

func withoutFiles(matches []identify.Match) []identify.Match {
	matches = slices.Clone(matches)
	for i := range matches {
		if oidc := matches[i].OIDC; oidc != nil && oidc.CAFile != "" {
			bare := *oidc
			bare.CAFile = ""
			matches[i].OIDC = &bare
		}
	}
	return matches
}
