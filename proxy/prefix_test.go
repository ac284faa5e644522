package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	kubectl "k8s.io/kubectl/pkg/proxy"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

// What an API prefix does to a path is compared with kubectl's own code.
func TestStripPrefixIsKubectls(t *testing.T) {
	for _, tc := range []struct {
		prefix, path, want string
		inside             bool
	}{
		{"/", "/api/v1/pods", "/api/v1/pods", true},
		{"/", "/", "/", true},
		{"/custom/", "/custom/api/v1/pods", "/api/v1/pods", true},
		{"/custom/", "/custom/a/b", "/a/b", true},
		{"/custom/", "/api/v1/pods", "", false},
		{"/custom/", "/customapi", "", false},
		{"/k8s-api/", "/k8s-api/v1/pods", "/v1/pods", true},
		{"/api/", "/api/v1/pods", "/api/v1/pods", true},
		{"/apiserver/", "/apiserver/api/v1/pods", "/apiserver/api/v1/pods", true},
	} {
		t.Run(tc.prefix+" "+tc.path, func(t *testing.T) {
			decoded, escaped, inside := stripPrefix(tc.prefix, tc.path, tc.path)
			if decoded != tc.want || escaped != tc.want || inside != tc.inside {
				t.Errorf("%q, %q, %v; want %q twice, %v", decoded, escaped, inside, tc.want, tc.inside)
			}

			var seen string
			api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.Path }))
			defer api.Close()
			theirs, err := kubectl.NewProxyHandler(tc.prefix, nil, &rest.Config{Host: api.URL}, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux() // kubectl's own, so that it is not asked for other prefixes
			mux.Handle(tc.prefix, theirs)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost"+tc.path, http.NoBody))
			if seen != tc.want {
				t.Errorf("kubectl sends %q upstream, want %q (status %d)", seen, tc.want, w.Code)
			}
			if tc.inside {
				return
			}
			outside := httptest.NewRecorder()
			filter.NotFound(outside)
			if outside.Code != w.Code || outside.Body.String() != w.Body.String() || !cmp.Equal(outside.Header(), w.Header()) {
				t.Errorf("NotFound is %d %q %v, kubectl's %d %q %v", outside.Code, outside.Body, outside.Header(), w.Code, w.Body, w.Header())
			}
		})
	}
}
