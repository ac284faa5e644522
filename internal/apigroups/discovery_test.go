package apigroups

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// coreDoc and groupsDoc have the shape of a 1.37 kube-apiserver's answers to
// GET /api and GET /apis, shortened.
const (
	coreDoc = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[
{"metadata":{},"versions":[{"version":"v1","freshness":"Current","resources":[
{"resource":"pods","responseKind":{"group":"","version":"","kind":"Pod"},"scope":"Namespaced","singularResource":"pod","verbs":["get","list"],
"subresources":[{"subresource":"log","responseKind":{"group":"","version":"","kind":"Pod"},"verbs":["get"]}]},
{"resource":"nodes","scope":"Cluster","singularResource":"node","verbs":["get"]}]}]}]}`
	groupsDoc = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"items":[
{"metadata":{"name":"example.org","creationTimestamp":null},"versions":[
{"version":"v2","freshness":"Current","resources":[{"resource":"widgets"}]},
{"version":"v1","freshness":"Current","resources":[{"resource":"widgets"},{"resource":"gadgets"},{"resource":"Bad Name"}]}]},
{"metadata":{"name":"Bad Group"},"versions":[{"version":"v1","resources":[{"resource":"x"}]}]},
{"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale"}]}]}`
	apiServicesDoc = `{"kind":"APIServiceList","apiVersion":"apiregistration.k8s.io/v1","metadata":{"resourceVersion":"7"},"items":[
{"metadata":{"name":"v1.apps"},"spec":{"group":"apps","version":"v1","groupPriorityMinimum":17800,"versionPriority":15}},
{"metadata":{"name":"v1."},"spec":{"version":"v1"}},
{"metadata":{"name":"v1.stats.example.org"},"spec":{"group":"stats.example.org","version":"v1","service":{"namespace":"stats","name":"api","port":443}}},
{"metadata":{"name":"v2.stats.example.org"},"spec":{"group":"stats.example.org","version":"v2"}}]}`
)

func TestParseRefusesWhatIsNoAggregatedDiscovery(t *testing.T) {
	for name, doc := range map[string]string{
		"a plain group list": `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"a Status":           `{"kind":"Status","apiVersion":"v1","code":403}`,
	} {
		if _, err := Parse([]byte(doc)); !errors.Is(err, ErrNotAggregated) {
			t.Errorf("%s: error %v, want ErrNotAggregated", name, err)
		}
	}
	if _, err := Parse([]byte(`<html>`)); err == nil || errors.Is(err, ErrNotAggregated) {
		t.Errorf("no JSON: error %v, want a syntax error", err)
	}
	if _, err := ParseAPIServices([]byte(`{"kind":"Status"}`)); err == nil || !strings.Contains(err.Error(), "Status") {
		t.Errorf("a Status instead of APIServices: error %v, want one that names the kind", err)
	}
}

func TestParseBoundsTheNumberOfNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"big.example.org"},"versions":[{"version":"v1","resources":[{"resource":"first"}`)
	for i := range 2 * maxResources {
		fmt.Fprintf(&b, `,{"resource":"r%d"}`, i)
	}
	b.WriteString(`]}]},{"metadata":{"name":"late.example.org"}}]}`)
	d, err := Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(d.groups["big.example.org"].resources); got != maxResources-1 {
		t.Errorf("%d resources, want %d", got, maxResources-1)
	}
	if _, ok := d.groups["late.example.org"]; ok {
		t.Error("a group beyond the bound was taken in")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(coreDoc))
	f.Add([]byte(groupsDoc))
	f.Add([]byte(apiServicesDoc))
	f.Add([]byte(`{"kind":"APIGroupDiscoveryList","items":[null,{"versions":[null]}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		table := New()
		if d, err := Parse(doc); err == nil {
			table.Set(d)
			for name, g := range table.view.Load().groups {
				if name != "" && !validName(name) {
					t.Errorf("group %q got through", name)
				}
				for r := range g.resources {
					if !validName(r) {
						t.Errorf("resource %q got through", r)
					}
				}
			}
		}
		if s, err := ParseAPIServices(doc); err == nil {
			table.SetAggregated(s)
			if table.Aggregated("", "v1") {
				t.Error("the core group became aggregated")
			}
		}
	})
}
