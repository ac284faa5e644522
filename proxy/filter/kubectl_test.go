package filter_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
	f := mustNew(t, filter.DefaultConfig())
	ours := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.Broken(r.Method, r.URL.Path, r.Host) != "" {
			filter.Forbidden(w)
			return
		}
		accepted(w, r)
	})
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
