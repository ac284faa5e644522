package apigroups

import (
	"strings"
	"sync"
	"sync/atomic"
)

// Other stands for every group and every resource the cluster is not known to
// serve.
const Other = "other"

// maxLearned bounds what [Table.Learn] may add between two readings of the
// APIService list. A cluster has a handful of aggregated groups.
const maxLearned = 256

// Table is what one cluster serves. Reading is lock-free and allocates
// nothing; all methods may be called from any goroutine. Make one with [New].
type Table struct {
	mu   sync.Mutex // serialises writers
	view atomic.Pointer[view]
}

// view is one immutable state of a Table.
type view struct {
	groups     map[string]*group
	aggregated map[groupVersion]struct{}
	learned    int // how many of aggregated came from Learn
}

// group is an API group with the resources of all its versions. Names are kept
// as values too, so that a lookup returns the table's own string and never
// keeps a request's buffer alive.
type group struct {
	name      string
	resources map[string]string
}

type groupVersion struct{ group, version string }

// New returns a table that knows the groups and resources of a plain
// Kubernetes.
func New() *Table {
	t := &Table{}
	t.view.Store(&view{groups: wellKnown(), aggregated: wellKnownAggregated()})
	return t
}

// Lookup returns the metric labels for a request on resource in apiGroup, both
// as Kubernetes' RequestInfo gives them: the core group is "", and the resource
// carries no subresource. An unknown group gives (Other, Other), an unknown
// resource of a known group (group, Other), and a request that is not for a
// resource ("", "") gives ("", "").
func (t *Table) Lookup(apiGroup, resource string) (groupLabel, resourceLabel string) {
	if resource == "" && apiGroup == "" {
		return "", ""
	}
	g, ok := t.view.Load().groups[apiGroup]
	if !ok {
		return Other, Other
	}
	if resource == "" {
		return g.name, ""
	}
	r, ok := g.resources[resource]
	if !ok {
		return g.name, Other
	}
	return g.name, r
}

// Aggregated reports whether an aggregated API server, not the kube-apiserver
// itself, answers for a group and version. An empty version asks for the group
// as a whole: any of its versions.
func (t *Table) Aggregated(apiGroup, version string) bool {
	if apiGroup == "" {
		return false // the core group is never aggregated
	}
	v := t.view.Load()
	if _, ok := v.aggregated[groupVersion{apiGroup, version}]; ok {
		return true
	}
	if version == "" {
		return false // the group entry exists whenever a version's does
	}
	// A group of which no version is known, only that it is aggregated.
	_, ok := v.aggregated[groupVersion{apiGroup, anyVersion}]
	return ok
}

// anyVersion marks a group that is aggregated in every version. It cannot be a
// version's name.
const anyVersion = "*"

// Learn notes that apiGroup in version is aggregated. It is for clusters whose
// APIService list may not be read: there a 503 with the plain text
// "service unavailable" under /apis/<group> gives an aggregated group away.
// An empty version means all of them. Learning what is known is cheap; at most
// 256 entries are learned, and a readable APIService list replaces them.
func (t *Table) Learn(apiGroup, version string) {
	if version == "" {
		version = anyVersion
	}
	if !validName(apiGroup) || (version != anyVersion && !validName(version)) || t.Aggregated(apiGroup, version) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.view.Load()
	if _, known := old.aggregated[groupVersion{apiGroup, version}]; known || old.learned >= maxLearned {
		return
	}
	next := *old
	next.aggregated = make(map[groupVersion]struct{}, len(old.aggregated)+2)
	for gv := range old.aggregated {
		next.aggregated[gv] = struct{}{}
	}
	addAggregated(next.aggregated, groupVersion{strings.Clone(apiGroup), strings.Clone(version)})
	next.learned++
	t.view.Store(&next)
}

// addAggregated adds gv and the entry that answers for its group as a whole.
func addAggregated(set map[groupVersion]struct{}, gv groupVersion) {
	set[gv] = struct{}{}
	set[groupVersion{gv.group, ""}] = struct{}{}
}

// Set replaces the groups and resources with those of d. A version whose
// aggregated server did not answer the kube-apiserver (freshness Stale) comes
// without resources; its group keeps the ones known before.
func (t *Table) Set(d *Discovery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := *t.view.Load()
	groups := make(map[string]*group, len(d.groups))
	for name, g := range d.groups {
		groups[name] = g
		old, ok := next.groups[name]
		if _, stale := d.stale[name]; !stale || !ok {
			continue
		}
		merged := &group{name: name, resources: make(map[string]string, len(g.resources)+len(old.resources))}
		for r := range old.resources {
			merged.resources[r] = r
		}
		for r := range g.resources {
			merged.resources[r] = r
		}
		groups[name] = merged
	}
	next.groups = groups
	t.view.Store(&next)
}

// SetAggregated replaces all knowledge of which groups are aggregated, what was
// learned included.
func (t *Table) SetAggregated(s *APIServices) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := *t.view.Load()
	next.aggregated, next.learned = s.aggregated, 0
	t.view.Store(&next)
}

// validName reports whether s can be the name of a group, version or resource:
// a DNS subdomain. It keeps whatever a broken or hostile server says out of the
// metrics.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}
