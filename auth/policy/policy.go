package policy

import (
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/endpoints/request"
)

// Policy is a policy that is ready to decide. It is never changed, and may be
// used by any number of goroutines.
type Policy struct {
	name  string
	rules []rule
}

// rule is a Rule that is ready to match.
type rule struct {
	verbs verbSet

	groups     words
	resources  []resourcePattern
	namespaces words // none: all, and what is in no namespace
	names      words // none: all, and what has no name

	urls []urlPattern // of a rule that is for no resources
}

// resourcePattern matches a resource and a subresource; "*" matches any.
type resourcePattern struct{ resource, subresource string }

func (p resourcePattern) matches(info *request.RequestInfo) bool {
	if p.resource != every && p.resource != info.Resource {
		return false
	}
	switch p.subresource {
	case info.Subresource:
		return true
	case every:
		return p.resource == every || info.Subresource != ""
	}
	return false
}

// urlPattern matches a path, or all paths that begin with it.
type urlPattern struct {
	path   string
	prefix bool
}

func (p urlPattern) matches(path string) bool {
	if p.prefix {
		return strings.HasPrefix(path, p.path)
	}
	return path == p.path
}

// every stands for everything, as RBAC has it.
const every = "*"

// words is a set of words, or every word there is.
type words struct {
	all  bool
	few  []string
	many map[string]struct{} // in place of few, if they are more than that
}

// few is up to how many words comparing them one by one is the faster way.
const few = 8

func wordsOf(list []string) words {
	var w words
	if slices.Contains(list, every) {
		return words{all: true}
	}
	if len(list) <= few {
		w.few = append(w.few, list...)
		return w
	}
	w.many = make(map[string]struct{}, len(list))
	for _, word := range list {
		w.many[word] = struct{}{}
	}
	return w
}

// none reports whether there is no word in the set, so that it has not been given.
func (w *words) none() bool { return !w.all && w.few == nil && w.many == nil }

func (w *words) has(word string) bool {
	if w.all {
		return true
	}
	if w.many == nil {
		return slices.Contains(w.few, word)
	}
	_, found := w.many[word]
	return found
}

// Decide says whether a rule of the policy allows a request. It denies what it
// does not understand: a nil policy, a request that was not parsed, a verb
// that Kubernetes does not have.
func (p *Policy) Decide(r *Request) Decision {
	d := Decision{Rule: -1, policy: p, request: r}
	if p == nil || r == nil {
		return d
	}
	if d.Verb = r.Verb(); d.Verb == "" {
		return d
	}
	if d.Rule = p.find(r.Info, d.Verb); d.Rule < 0 {
		return d
	}
	if natural := r.natural(); natural != d.Verb && r.alsoNatural(natural) && p.find(r.Info, natural) < 0 {
		d.Rule, d.Verb = -1, natural
		return d
	}
	d.Allowed = true
	return d
}

// find returns the first rule that allows the verb, -1 if none does.
func (p *Policy) find(info *request.RequestInfo, verb string) int {
	bit := verbBit(verb)
	if info.IsResourceRequest && info.Verb == "proxy" {
		// /api/v1/proxy/… of old reaches into what it names as …/proxy does,
		// and who may create that may not do so because of it.
		legacy := *info
		legacy.Subresource = "proxy"
		info = &legacy
	}
	for i := range p.rules {
		r := &p.rules[i]
		if r.verbs&bit == 0 {
			continue
		}
		if info.IsResourceRequest && r.matchesResource(info) || !info.IsResourceRequest && r.matchesURL(info.Path) {
			return i
		}
	}
	return -1
}

func (r *rule) matchesResource(info *request.RequestInfo) bool {
	if !r.groups.has(info.APIGroup) {
		return false
	}
	matched := false
	for i := range r.resources {
		if matched = r.resources[i].matches(info); matched {
			break
		}
	}
	if !matched {
		return false
	}
	if !r.namespaces.none() && (info.Namespace == "" || !r.namespaces.has(info.Namespace)) {
		return false
	}
	return r.names.none() || info.Name != "" && r.names.has(info.Name)
}

func (r *rule) matchesURL(path string) bool {
	for i := range r.urls {
		if r.urls[i].matches(path) {
			return true
		}
	}
	return false
}
