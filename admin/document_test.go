package admin

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What docs/metrics.md says of each metric is what /metrics has: name, type and
// labels; and it names every value of the labels whose values are fixed.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `(kuberelay_[a-z_]+)` \\| ([a-z]+) \\|([a-z, ]*)\\| \\S")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		labels := strings.Split(strings.TrimSpace(m[3]), ", ")
		slices.Sort(labels)
		documented[m[1]] = m[2] + " " + strings.Join(labels, ",")
	}

	families, err := filled().Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	existing := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "kuberelay_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		existing[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	if diff := cmp.Diff(existing, documented); diff != "" {
		t.Errorf("docs/metrics.md (-metrics +document):\n%s", diff)
	}

	for _, value := range slices.Concat(outcomes, retryReasons, deniedReasons, breakerStates, cutReasons, auditStages) {
		if !strings.Contains(string(text), "`"+value+"`") {
			t.Errorf("docs/metrics.md does not name `%s`", value)
		}
	}
}
