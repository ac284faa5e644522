package filter_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	kubectl "k8s.io/kubectl/pkg/proxy"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

// accepted is what a delegate behind a filter answers.
var accepted = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

// flags are a filter's lists as kubectl's command line has them.
type flags struct{ acceptHosts, acceptPaths, rejectPaths, rejectMethods string }

var defaultFlags = flags{
	kubectl.DefaultHostAcceptRE, kubectl.DefaultPathAcceptRE,
	kubectl.DefaultPathRejectRE, kubectl.DefaultMethodRejectRE,
}

func (f flags) config() filter.Config {
	return filter.Config{
		AcceptHosts:   filter.SplitList(f.acceptHosts),
		AcceptPaths:   filter.SplitList(f.acceptPaths),
		RejectPaths:   filter.SplitList(f.rejectPaths),
		RejectMethods: filter.SplitList(f.rejectMethods),
	}
}

// kubectl is the filter of kubectl proxy itself.
func (f flags) kubectl() (http.Handler, error) {
	var s kubectl.FilterServer
	var errs [4]error
	s.AcceptHosts, errs[0] = kubectl.MakeRegexpArray(f.acceptHosts)
	s.AcceptPaths, errs[1] = kubectl.MakeRegexpArray(f.acceptPaths)
	s.RejectPaths, errs[2] = kubectl.MakeRegexpArray(f.rejectPaths)
	s.RejectMethods, errs[3] = kubectl.MakeRegexpArray(f.rejectMethods)
	return s.HandlerFor(accepted), errors.Join(errs[:]...)
}

func request(method, path, host string) *http.Request {
	return &http.Request{Method: method, URL: &url.URL{Path: path}, Host: host}
}

func answer(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// bracketed reports whether host is of the form [x]:y, where the two differ on
// purpose.
func bracketed(host string) bool {
	return strings.HasPrefix(host, "[") && strings.Contains(host, "]:")
}

func TestDefaultsAreKubectls(t *testing.T) {
	got := flags{filter.DefaultAcceptHosts, filter.DefaultAcceptPaths, filter.DefaultRejectPaths, filter.DefaultRejectMethods}
	if got != defaultFlags {
		t.Errorf("defaults are %q, kubectl's %q", got, defaultFlags)
	}
	if diff := cmp.Diff(defaultFlags.config(), filter.DefaultConfig()); diff != "" {
		t.Errorf("DefaultConfig (-kubectl +got):\n%s", diff)
	}
}

func TestAnswersAreKubectlsToTheByte(t *testing.T) {
	ours := mustNew(t, filter.DefaultConfig()).Handler(accepted)
	theirs, err := defaultFlags.kubectl()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*http.Request{
		request("GET", "/api/v1/pods", "localhost:8001"),
		request("GET", "/api/v1/pods", "evil.com"),
		request("POST", "/api/v1/namespaces/d/pods/p/exec", "127.0.0.1"),
	} {
		got, want := answer(ours, r), answer(theirs, r)
		if got.Code != want.Code {
			t.Errorf("%s %s at %s: status %d, kubectl's %d", r.Method, r.URL.Path, r.Host, got.Code, want.Code)
		}
		if diff := cmp.Diff(want.Header(), got.Header()); diff != "" {
			t.Errorf("%s %s at %s: headers (-kubectl +got):\n%s", r.Method, r.URL.Path, r.Host, diff)
		}
		if diff := cmp.Diff(want.Body.String(), got.Body.String()); diff != "" {
			t.Errorf("%s %s at %s: body (-kubectl +got):\n%s", r.Method, r.URL.Path, r.Host, diff)
		}
	}
}

// What kubectl proxy forwards is seen from behind a filter that accepts
// nothing but the expected path.
func TestAPIPathIsKubectls(t *testing.T) {
	for _, tt := range []struct {
		prefix, path, want string
		ok                 bool
	}{
		{"/", "/api/v1/pods", "/api/v1/pods", true},
		{"/", "/", "/", true},
		{"/", "//api", "/api", true},
		{"/custom/", "/custom/api/v1/pods", "/api/v1/pods", true},
		{"/custom/", "/custom/a/b", "/a/b", true},
		{"/custom/", "/custom//a", "/a", true},
		{"/custom/", "/api/v1/pods", "", false},
		{"/custom/", "/customapi", "", false},
		{"/k8s-api/", "/k8s-api/v1/pods", "/v1/pods", true},
		{"/api/", "/api/v1/pods", "/api/v1/pods", true},
		{"/apiserver/", "/apiserver/api/v1/pods", "/apiserver/api/v1/pods", true},
	} {
		t.Run(tt.prefix+" "+tt.path, func(t *testing.T) {
			got, ok := filter.APIPath(tt.prefix, tt.path)
			if got != tt.want || ok != tt.ok {
				t.Errorf("APIPath = %q, %v; want %q, %v", got, ok, tt.want, tt.ok)
			}

			var seen string
			api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.Path }))
			defer api.Close()
			theirs, err := kubectl.NewProxyHandler(tt.prefix, nil, &rest.Config{Host: api.URL}, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			mux := http.NewServeMux() // kubectl's own, so that it is not asked for other prefixes.
			mux.Handle(tt.prefix, theirs)
			r := httptest.NewRequest("GET", "http://localhost", nil)
			r.URL.Path = tt.path
			if strings.Contains(tt.path, "//") {
				// The mux would redirect the literal form; an encoded slash gets through.
				r.URL.RawPath = strings.Replace(tt.path, "//", "/%2F", 1)
			}
			w := answer(mux, r)
			if !ok {
				notFound := httptest.NewRecorder()
				filter.NotFound(notFound)
				if notFound.Code != w.Code || notFound.Body.String() != w.Body.String() || !cmp.Equal(notFound.Header(), w.Header()) {
					t.Errorf("NotFound is %d %q %v, kubectl's %d %q %v", notFound.Code, notFound.Body, notFound.Header(), w.Code, w.Body, w.Header())
				}
				return
			}
			if seen != got {
				t.Errorf("kubectl sends %q upstream, ours is %q (status %d)", seen, got, w.Code)
			}
		})
	}
}
