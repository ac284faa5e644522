package config

import (
	"fmt"
	"strings"

	"github.com/kuberelay/kuberelay/auth"
)

// validateCredentials checks the credentials and what they are asked with.
func (c *Configuration) validateCredentials(known known, p *problems) {
	for i := range c.Credentials {
		field := fmt.Sprintf("credentials[%d]", i)
		p.validateCredential(field, c.Credentials[i])
		if t := c.Credentials[i].ServiceAccountToken; t != nil {
			p.addDangling(field+".serviceAccountToken.credential", t.Credential, known.credentials)
			p.addDangling(field+".serviceAccountToken.cluster", t.Cluster, known.clusters)
			if circle := c.circle(i, known.credentials); circle != "" {
				p.add(field+".serviceAccountToken.credential", fmt.Errorf("is asked with itself: %s", circle))
			}
		}
	}
}

func (p *problems) validateCredential(field string, credential auth.CredentialConfig) {
	var found problems
	found.addFields(field, credential.Validate())
	for _, problem := range found {
		if problem.Path != field+".name" { // names are addNames's
			*p = append(*p, problem)
		}
	}
}

// circle follows the credentials that one is asked with, and returns their names
// if they lead back to it.
func (c *Configuration) circle(start int, credentials names) string {
	chain := []string{c.Credentials[start].Name}
	for at := start; len(chain) <= len(c.Credentials); {
		t := c.Credentials[at].ServiceAccountToken
		if t == nil {
			return ""
		}
		next, ok := credentials.index[t.Credential]
		if !ok {
			return ""
		}
		chain = append(chain, t.Credential)
		if next == start {
			return strings.Join(chain, " → ")
		}
		at = next
	}
	return "" // of others, for which it is reported
}
