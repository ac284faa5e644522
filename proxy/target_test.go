package proxy

import (
	"net/http"
	"net/url"
	"testing"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kuberelay/kuberelay/balancer"
)

var requestInfo = &request.RequestInfoFactory{
	APIPrefixes:          sets.NewString("api", "apis"),
	GrouplessAPIPrefixes: sets.NewString("api"),
}

// sameAsRequestInfo compares ParseTarget with the API server's own parser.
func sameAsRequestInfo(t *testing.T, method, path, query string) {
	t.Helper()
	want, err := requestInfo.NewRequestInfo(&http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}})
	if err != nil {
		return // "/api/v1/watch" alone: the API server answers 404 or 500
	}
	got := ParseTarget(method, path, query)
	if got.Verb != want.Verb || got.Group != want.APIGroup || got.Version != want.APIVersion ||
		got.Resource != want.Resource || got.Subresource != want.Subresource || got.IsResource != want.IsResourceRequest {
		t.Errorf("%s %q ?%q:\n got %+v\nwant %+v", method, path, query, got, want)
	}
}

var targetCases = []struct{ method, path, query string }{
	{"GET", "/", ""},
	{"GET", "/version", ""},
	{"GET", "/api", ""},
	{"GET", "/api/v1", ""},
	{"GET", "/apis/apps", ""},
	{"GET", "/apis/apps/v1", ""},
	{"GET", "/api/v1/pods", ""},
	{"GET", "/api/v1/pods", "watch=true"},
	{"GET", "/api/v1/pods", "watch"},
	{"GET", "/api/v1/pods", "watch=0"},
	{"GET", "/api/v1/pods", "watch=FALSE&watch=1"},
	{"GET", "/api/v1/pods", "wat%63h=1"},
	{"GET", "/api/v1/pods", "a=1;watch=1&watch=%zz&watch=1"},
	{"GET", "/api/v1/pods/", ""},
	{"HEAD", "/api/v1/namespaces/x/pods/p", ""},
	{"GET", "/api/v1/namespaces/x", ""},
	{"GET", "/api/v1/namespaces/x/status", ""},
	{"PUT", "/api/v1/namespaces/x/finalize", ""},
	{"GET", "/api/v1/namespaces", "watch=1"},
	{"GET", "/api/v1/watch/pods", ""},
	{"GET", "/api/v1/watch/namespaces/x/pods/p", ""},
	{"GET", "/api/v1/proxy/nodes/n/x/y", ""},
	{"GET", "/api/v1/namespaces/x/pods/p/exec", "command=ls"},
	{"POST", "/api/v1/namespaces/x/pods/p/exec", ""},
	{"GET", "/api/v1/namespaces/x/services/s:80/proxy/a/b/c/d", ""},
	{"DELETE", "/apis/apps/v1/namespaces/x/deployments", ""},
	{"DELETE", "/apis/apps/v1/namespaces/x/deployments/d", ""},
	{"PATCH", "/apis/apps/v1/namespaces/x/deployments/d/scale", ""},
	{"BREW", "/apis/apps/v1/namespaces/x/deployments/d", ""},
	{"GET", "//api//v1//pods", ""},
	{"GET", "/api/v1/namespaces//pods", ""},
}

func TestParseTargetAgreesWithRequestInfo(t *testing.T) {
	for _, c := range targetCases {
		sameAsRequestInfo(t, c.method, c.path, c.query)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, c := range targetCases {
		f.Add(c.method, c.path, c.query)
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		sameAsRequestInfo(t, method, path, query)
	})
}

func TestTargetKindAndSafety(t *testing.T) {
	for _, c := range []struct {
		method, path, query string
		upgrade             bool
		kind                balancer.Kind
		safe                bool
	}{
		{"GET", "/version", "", false, balancer.CachedRead, true},
		{"GET", "/api/v1/pods", "", false, balancer.QuorumRead, true},
		{"GET", "/api/v1/pods", "resourceVersion=", false, balancer.QuorumRead, true},
		{"GET", "/api/v1/pods", "resourceVersion=0", false, balancer.CachedRead, true},
		{"GET", "/api/v1/pods", "resourceVersion=123", false, balancer.CachedRead, true},
		{"GET", "/api/v1/pods", "watch=1", false, balancer.Watch, true},
		{"GET", "/api/v1/namespaces/x/pods/p/log", "follow=true", false, balancer.Watch, true},
		{"GET", "/api/v1/namespaces/x/pods/p/log", "", false, balancer.QuorumRead, true},
		{"POST", "/api/v1/namespaces/x/pods", "", false, balancer.Write, false},
		{"POST", "/api/v1/namespaces/x/pods", "dryRun=All", false, balancer.Write, true},
		{"POST", "/api/v1/namespaces/x/services/s/proxy/x", "dryRun=All", false, balancer.Write, false},
		{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "", false, balancer.Write, true},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", "", false, balancer.Write, true},
		{"DELETE", "/api/v1/namespaces/x/pods/p", "", false, balancer.Write, false},
		{"GET", "/api/v1/namespaces/x/pods/p/exec", "command=ls", true, balancer.Upgrade, true},
	} {
		target := ParseTarget(c.method, c.path, c.query)
		if got := target.kind(c.method, c.query, c.upgrade); got != c.kind {
			t.Errorf("%s %s?%s: kind %v, want %v", c.method, c.path, c.query, got, c.kind)
		}
		if got := target.safe(c.method, c.query); got != c.safe {
			t.Errorf("%s %s?%s: safe %v, want %v", c.method, c.path, c.query, got, c.safe)
		}
	}
}

func BenchmarkParseTarget(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseTarget("GET", "/apis/apps/v1/namespaces/default/deployments/web", "resourceVersion=0&timeout=30s")
	}
}
