package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSelectorsAreFound(t *testing.T) {
	for expr, want := range map[string][]string{
		`up{job=~".*kuberelay.*"} == 0`:                                       {`up{job=~".*kuberelay.*"}`},
		`increase(kuberelay_audit_errors_total[5m]) > 0`:                      {"kuberelay_audit_errors_total"},
		`kuberelay_x{a="1"} == kuberelay_x offset 1d`:                         {`kuberelay_x{a="1"}`, "kuberelay_x"},
		`sum by (verb, le) (rate(kuberelay_y_bucket{code=~"50[23]"}[1m]))`:    {`kuberelay_y_bucket{code=~"50[23]"}`},
		`cluster:kuberelay_requests_failed:ratio_rate5m > 0.05`:               {"cluster:kuberelay_requests_failed:ratio_rate5m"},
		`process_open_fds / process_max_fds{job="a"}`:                         {"process_open_fds", `process_max_fds{job="a"}`},
		`group_left () count by (job) (kuberelay_gossip_peers) unless uptime`: {"kuberelay_gossip_peers"},
	} {
		if diff := cmp.Diff(want, (expression{text: expr}).selectors()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expr, diff)
		}
	}
}

func TestExpressionsOfTheRepositoryAreRead(t *testing.T) {
	all, err := readExpressions("../../deploy/prometheus/kuberelay.rules.yml", "../../deploy/grafana/kuberelay.json")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range all {
		kind, _, _ := strings.Cut(e.where, " ")
		if strings.HasPrefix(kind, "Kuberelay") {
			kind = "alert"
		}
		if strings.Contains(kind, ":") {
			kind = "recording"
		}
		kinds[kind]++
		if strings.Contains(e.text, "$") {
			t.Errorf("%s: a variable is left in %s", e.where, e.text)
		}
		if e.shows != (kind != "alert" && kind != "annotation") {
			t.Errorf("%s: has to show something: %v", e.where, e.shows)
		}
	}
	for _, kind := range []string{"alert", "recording", "panel", "variable", "annotation"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s was read: %v", kind, kinds)
		}
	}
}

func TestVariableThatIsNoListOfLabelValuesIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dashboard.json")
	text := `{"templating":{"list":[{"name":"job","type":"query","definition":"query_result(up)"}]}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readDashboard(file); err == nil || !strings.Contains(err.Error(), "variable job") {
		t.Errorf("error is %v, want one about the variable job", err)
	}
}

func TestOnlyNumbersCanBeDrawn(t *testing.T) {
	for name, c := range map[string]struct {
		samples []sample
		want    bool
	}{
		"nothing":             {nil, false},
		"no number":           {[]sample{{Value: [2]any{1.0, "NaN"}}}, false},
		"zero":                {[]sample{{Value: [2]any{1.0, "0"}}}, true},
		"one number of two":   {[]sample{{Value: [2]any{1.0, "NaN"}}, {Value: [2]any{1.0, "2"}}}, true},
		"infinite is a value": {[]sample{{Value: [2]any{1.0, "+Inf"}}}, true},
	} {
		if got := anyNumber(c.samples); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
