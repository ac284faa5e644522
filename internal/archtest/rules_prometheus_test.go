package archtest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What is shipped for Prometheus and Grafana, and the runbooks.
const (
	rulesFile     = "deploy/prometheus/kuberelay.rules.yml"
	ruleTestsFile = "deploy/prometheus/kuberelay.rules_test.yml"
	dashboardFile = "deploy/grafana/kuberelay.json"
	metricsDoc    = "docs/metrics.md"
	operateDoc    = "docs/operate.md"
	runbooks      = "https://" + module + "/blob/main/" + operateDoc + "#"
)

// rule is one of rulesFile: an alert or a recording.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func (r rule) name() string { return r.Alert + r.Record }

// dashboardPanel is one of dashboardFile, as far as these tests look at it.
type dashboardPanel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *struct{ UID string }
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func prometheusRules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal([]byte(readText(t, rulesFile)), &file); err != nil {
		t.Fatalf("%s: %v", rulesFile, err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d rules found in %s", len(all), rulesFile)
	}
	return all
}

func dashboardPanels(t *testing.T) []dashboardPanel {
	t.Helper()
	var file struct{ Panels []dashboardPanel }
	if err := json.Unmarshal([]byte(readText(t, dashboardFile)), &file); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	if len(file.Panels) < 10 {
		t.Fatalf("only %d panels found in %s", len(file.Panels), dashboardFile)
	}
	return file.Panels
}

// documentedMetrics are the metrics of docs/metrics.md, which a test of admin
// compares with the program, and their labels; histograms as their series.
// Those of gossip have a file of their own, from which the names are taken:
// their labels are nil.
func documentedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	metrics := map[string][]string{}
	row := regexp.MustCompile("(?m)^\\| `(kuberelay_[a-z_]+)` \\| ([a-z]+) \\|([a-z, ]*)\\| \\S")
	for _, m := range row.FindAllStringSubmatch(readText(t, metricsDoc), -1) {
		labels := strings.Split(strings.TrimSpace(m[3]), ", ")
		if m[2] != "histogram" {
			metrics[m[1]] = labels
			continue
		}
		metrics[m[1]+"_bucket"] = append(labels, "le")
		metrics[m[1]+"_sum"], metrics[m[1]+"_count"] = labels, labels
	}
	if len(metrics) < 10 {
		t.Fatalf("only %d metrics found in %s", len(metrics), metricsDoc)
	}
	word := regexp.MustCompile(`"([a-z_]+)"`)
	for _, m := range word.FindAllStringSubmatch(readText(t, "gossip/metrics.go"), -1) {
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			if name := "kuberelay_gossip_" + m[1] + suffix; metrics[name] == nil {
				metrics[name] = nil
			}
		}
	}
	return metrics
}

var (
	metricUse = regexp.MustCompile(`\b((?:[a-z_]+:)?kuberelay_\w+(?::\w+)?)\b(?:\{([^}]*)\})?`)
	matcher   = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
)

// ofTarget are the labels that Prometheus itself adds.
var ofTarget = []string{"job", "instance"}

// A misspelt metric or label is no error to Prometheus: an alert on it is
// silent for ever. (make rules asks a real Prometheus for the values, too.)
func TestRulesAndDashboardNameMetricsThatExist(t *testing.T) {
	metrics := documentedMetrics(t)
	recorded := map[string]bool{}
	check := func(where, expr string) {
		for _, use := range metricUse.FindAllStringSubmatch(expr, -1) {
			name := use[1]
			labels, known := metrics[name]
			switch {
			case strings.Contains(name, ":"):
				if !recorded[name] {
					t.Errorf("%s: %s is recorded by no rule before it", where, name)
				}
				continue
			case !known:
				t.Errorf("%s: there is no metric %s in %s", where, name, metricsDoc)
				continue
			case labels == nil:
				continue
			}
			for _, m := range matcher.FindAllStringSubmatch(use[2], -1) {
				if !slices.Contains(labels, m[1]) && !slices.Contains(ofTarget, m[1]) {
					t.Errorf("%s: %s has no label %s, but %v", where, name, m[1], labels)
				}
			}
		}
	}
	for _, r := range prometheusRules(t) {
		check(rulesFile+": "+r.name(), r.Expr)
		if r.Record != "" {
			recorded[r.Record] = true
		}
	}
	recorded = nil // a dashboard works without the rules
	for _, p := range dashboardPanels(t) {
		for _, target := range p.Targets {
			check(dashboardFile+": "+p.Title, target.Expr)
		}
	}
}

func TestEveryAlertHasARunbook(t *testing.T) {
	headings := map[string]bool{}
	heading := regexp.MustCompile(`(?m)^### (Kuberelay\w+)$`)
	for _, m := range heading.FindAllStringSubmatch(readText(t, operateDoc), -1) {
		headings[m[1]] = true
	}
	for _, r := range prometheusRules(t) {
		if r.Alert == "" {
			continue
		}
		if severity := r.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("alert %s: severity is %q, want critical or warning", r.Alert, severity)
		}
		for _, annotation := range []string{"summary", "description"} {
			if text := r.Annotations[annotation]; !strings.HasSuffix(text, ".") {
				t.Errorf("alert %s: %s is %q, want sentences", r.Alert, annotation, text)
			}
		}
		if got, want := r.Annotations["runbook_url"], runbooks+strings.ToLower(r.Alert); got != want {
			t.Errorf("alert %s: runbook_url is %q, want %q", r.Alert, got, want)
		}
		if !headings[r.Alert] {
			t.Errorf("alert %s: %s has no heading \"### %s\"", r.Alert, operateDoc, r.Alert)
		}
		delete(headings, r.Alert)
	}
	for name := range headings {
		t.Errorf("%s has a runbook for %s, which is no alert of %s", operateDoc, name, rulesFile)
	}
}

func TestEveryAlertIsSeenToFireAndToBeSilent(t *testing.T) {
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(readText(t, ruleTestsFile)), &file); err != nil {
		t.Fatalf("%s: %v", ruleTestsFile, err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, a := range test.Alerts {
			if len(a.Expected) > 0 {
				fires[a.Name] = true
			} else {
				silent[a.Name] = true
			}
		}
	}
	for _, r := range prometheusRules(t) {
		if r.Alert != "" && (!fires[r.Alert] || !silent[r.Alert]) {
			t.Errorf("alert %s: %s has to show when it fires (it does: %v) and when not (%v)", r.Alert, ruleTestsFile, fires[r.Alert], silent[r.Alert])
		}
	}
}

func TestDashboardIsWhole(t *testing.T) {
	const width, variable = 24, "${datasource}"
	ids := map[int]string{}
	cells := map[[2]int]string{}
	for _, p := range dashboardPanels(t) {
		if other := ids[p.ID]; other != "" {
			t.Errorf("panels %q and %q have one id", p.Title, other)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= width {
					t.Fatalf("panel %q reaches out of the grid, or lies on %q", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q has no title, description or query", p.ID, p.Title)
		}
		if p.Datasource == nil || p.Datasource.UID != variable {
			t.Errorf("panel %q has a fixed data source", p.Title)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != variable {
				t.Errorf("panel %q: a query has a fixed data source", p.Title)
			}
		}
	}
}
