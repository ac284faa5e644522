package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// expression is one to be asked, and where it stands.
type expression struct {
	where, text string
	// shows tells that it has to have a value once there was traffic. Alerts
	// are silent while nothing is wrong.
	shows bool
}

// readExpressions reads those of the rules and of the dashboard, with the
// dashboard's variables filled in.
func readExpressions(rules, dashboard string) ([]expression, error) {
	ruled, err := readRules(rules)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", rules, err)
	}
	drawn, err := readDashboard(dashboard)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dashboard, err)
	}
	return append(ruled, drawn...), nil
}

func readRules(file string) (all []expression, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Groups []struct {
			Rules []struct {
				Alert, Record, Expr string
			}
		}
	}
	if err := yaml.Unmarshal(raw, &parsed); err != nil {
		return nil, err
	}
	for _, g := range parsed.Groups {
		for _, r := range g.Rules {
			all = append(all, expression{where: r.Alert + r.Record, text: r.Expr, shows: r.Record != ""})
		}
	}
	return all, nil
}

// variables stand for what Grafana fills in.
var variables = strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$cluster", ".*")

// labelValues is how a variable of the dashboard asks for its values.
var labelValues = regexp.MustCompile(`^label_values\((.*), ([a-z]+)\)$`)

func readDashboard(file string) (all []expression, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Annotations struct {
			List []struct{ Name, Expr string }
		}
	}
	if err := json.Unmarshal(raw, &parsed); err != nil {
		return nil, err
	}
	for _, p := range parsed.Panels {
		for _, t := range p.Targets {
			all = append(all, expression{where: "panel " + p.Title, text: variables.Replace(t.Expr), shows: true})
		}
	}
	for _, v := range parsed.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			return nil, fmt.Errorf("variable %s: %q is no label_values(SELECTOR, LABEL)", v.Name, v.Definition)
		}
		all = append(all, expression{where: "variable " + v.Name, text: fmt.Sprintf("count by (%s) (%s)", m[2], variables.Replace(m[1])), shows: true})
	}
	for _, a := range parsed.Annotations.List {
		if a.Expr != "" {
			all = append(all, expression{where: "annotation " + a.Name, text: variables.Replace(a.Expr)})
		}
	}
	return all, nil
}

// selector finds metrics with their matchers, recorded ones too.
var selector = regexp.MustCompile(`\b(?:kuberelay_\w+|process_\w+|up|\w+:kuberelay_\w+:\w+)\b(?:\{[^}]*\})?`)

// selectors returns what an expression selects.
func (e expression) selectors() []string { return selector.FindAllString(e.text, -1) }
