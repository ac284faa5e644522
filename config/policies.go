package config

import (
	"errors"
	"fmt"

	"github.com/kuberelay/kuberelay/auth/policy"
	"github.com/kuberelay/kuberelay/internal/joined"
)

// validatePolicies checks the rules.
func (c *Configuration) validatePolicies(p *problems) {
	for i := range c.Policies {
		field := fmt.Sprintf("policies[%d]", i)
		_, err := policy.Compile(c.Policies[i])
		for _, err := range joined.Errors(err) {
			rule, ok := errors.AsType[*policy.RuleError](err)
			switch {
			case !ok:
				p.add(field, err)
			case rule.Rule >= 0:
				p.add(fmt.Sprintf("%s.rules[%d].%s", field, rule.Rule, rule.Field), rule.Err)
			case rule.Field != "name": // names are addNames's
				p.add(field+"."+rule.Field, rule.Err)
			}
		}
	}
}
