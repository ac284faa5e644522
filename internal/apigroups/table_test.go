package apigroups

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLookupGivesOnlyKnownNames(t *testing.T) {
	table := New()
	for _, c := range []struct{ group, resource, wantGroup, wantResource string }{
		{"", "pods", "", "pods"},
		{"", "widgets", "", Other},
		{"apps", "deployments", "apps", "deployments"},
		{"apps", "pods", "apps", Other},
		{"apps", "", "apps", ""},
		{"evil.example.org", "pods", Other, Other},
		{"evil.example.org", "", Other, Other},
		{"", "", "", ""},
		{"", "pods/log", "", Other},
		{"metrics.k8s.io", "nodes", "metrics.k8s.io", "nodes"},
	} {
		g, r := table.Lookup(c.group, c.resource)
		if g != c.wantGroup || r != c.wantResource {
			t.Errorf("Lookup(%q, %q) = %q, %q, want %q, %q", c.group, c.resource, g, r, c.wantGroup, c.wantResource)
		}
	}
}

func TestDiscoveryReplacesTheBuiltinGroups(t *testing.T) {
	table := New()
	d, err := Parse([]byte(coreDoc), []byte(groupsDoc))
	if err != nil {
		t.Fatal(err)
	}
	table.Set(d)
	for _, c := range []struct{ group, resource, wantGroup, wantResource string }{
		{"", "pods", "", "pods"},
		{"", "secrets", "", Other}, // not in this cluster's document
		{"example.org", "widgets", "example.org", "widgets"},
		{"example.org", "gadgets", "example.org", "gadgets"}, // of another version
		{"batch", "jobs", Other, Other},
		{"metrics.k8s.io", "nodes", "metrics.k8s.io", "nodes"}, // stale: kept from before
	} {
		g, r := table.Lookup(c.group, c.resource)
		if g != c.wantGroup || r != c.wantResource {
			t.Errorf("Lookup(%q, %q) = %q, %q, want %q, %q", c.group, c.resource, g, r, c.wantGroup, c.wantResource)
		}
	}
}

func TestAggregatedComesFromTheAPIServiceList(t *testing.T) {
	table := New()
	if !table.Aggregated("metrics.k8s.io", "v1beta1") {
		t.Error("the metrics API is not known as aggregated at the start")
	}
	table.Learn("old.example.org", "v1")
	s, err := ParseAPIServices([]byte(apiServicesDoc))
	if err != nil {
		t.Fatal(err)
	}
	table.SetAggregated(s)
	for _, c := range []struct {
		group, version string
		want           bool
	}{
		{"stats.example.org", "v1", true},
		{"stats.example.org", "", true},
		{"stats.example.org", "v2", false},   // served by the kube-apiserver itself
		{"apps", "v1", false},                // spec.service is absent
		{"", "v1", false},                    // the core group
		{"metrics.k8s.io", "v1beta1", false}, // this cluster has none
		{"old.example.org", "v1", false},     // learned, then contradicted
	} {
		if got := table.Aggregated(c.group, c.version); got != c.want {
			t.Errorf("Aggregated(%q, %q) = %v, want %v", c.group, c.version, got, c.want)
		}
	}
}

func TestLearnIsBoundedAndSurvivesDiscovery(t *testing.T) {
	table := New()
	table.Learn("a.example.org", "v1")
	table.Learn("b.example.org", "")
	table.Learn("Bad Name", "v1")
	table.Learn("c.example.org", "v 1")
	d, err := Parse([]byte(coreDoc))
	if err != nil {
		t.Fatal(err)
	}
	table.Set(d)
	for _, c := range []struct {
		group, version string
		want           bool
	}{
		{"a.example.org", "v1", true},
		{"a.example.org", "", true},
		{"a.example.org", "v2", false},
		{"b.example.org", "v7", true},
		{"b.example.org", "", true},
		{"Bad Name", "v1", false},
		{"c.example.org", "v 1", false},
	} {
		if got := table.Aggregated(c.group, c.version); got != c.want {
			t.Errorf("Aggregated(%q, %q) = %v, want %v", c.group, c.version, got, c.want)
		}
	}
	for i := range 10 * maxLearned {
		table.Learn(fmt.Sprintf("g%d.example.org", i), "v1")
	}
	if got := table.view.Load().learned; got != maxLearned {
		t.Errorf("learned %d entries, want the bound %d", got, maxLearned)
	}
}

func TestReadersAndWritersDoNotRace(t *testing.T) {
	table := New()
	d, err := Parse([]byte(coreDoc), []byte(groupsDoc))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				table.Learn(fmt.Sprintf("g%d-%d.example.org", i, n), "v1")
				table.Set(d)
				if _, r := table.Lookup("", "pods"); r != "pods" {
					t.Errorf("pods became %q", r)
				}
			}
		})
	}
	wg.Wait()
	if !table.Aggregated("g0-0.example.org", "v1") {
		t.Error("an entry learned early was lost")
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	table := New()
	if n := testing.AllocsPerRun(100, func() {
		table.Lookup("apps", "deployments")
		table.Lookup("nope.example.org", "x")
		table.Aggregated("metrics.k8s.io", "v1beta1")
		table.Learn("metrics.k8s.io", "v1beta1")
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestLookupDoesNotKeepTheRequestsString(t *testing.T) {
	table := New()
	request := strings.Clone("x/apps/deployments")
	g, r := table.Lookup(request[2:6], request[7:])
	wantG, wantR := table.Lookup("apps", "deployments")
	if g != "apps" || r != "deployments" {
		t.Fatalf("got %q, %q", g, r)
	}
	if unsafe.StringData(g) != unsafe.StringData(wantG) || unsafe.StringData(r) != unsafe.StringData(wantR) {
		t.Error("the labels are slices of the request")
	}
}

func BenchmarkLookup(b *testing.B) {
	table := New()
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup("apps", "deployments")
	}
}

func BenchmarkAggregated(b *testing.B) {
	table := New()
	b.ReportAllocs()
	for b.Loop() {
		table.Aggregated("apps", "v1")
	}
}
