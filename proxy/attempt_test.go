package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/balancer"
	"github.com/kuberelay/kuberelay/internal/apigroups"
)

// TestUnavailableGroupIsNoFaultOfTheAPIServer has the aggregator say that a
// group's server is away: that tells of the group, and not of the API server,
// whatever the request was.
func TestUnavailableGroupIsNoFaultOfTheAPIServer(t *testing.T) {
	const path = "/apis/example.org/v1/things"
	for name, upgrade := range map[string]bool{"plain": false, "upgrade": true} {
		t.Run(name, func(t *testing.T) {
			groups := apigroups.New()
			x := &exchange{cluster: &Cluster{Groups: groups}, upgrade: upgrade, target: ParseTarget(http.MethodGet, path, "watch=1")}
			v := x.verdictOn(&http.Response{
				StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
				Body: io.NopCloser(strings.NewReader("service unavailable\n")), ContentLength: -1,
			})
			if v != verdictServerError {
				t.Errorf("%+v, want %+v", v, verdictServerError)
			}
			if !groups.Aggregated("example.org", "v1") {
				t.Error("the group is not known as aggregated")
			}
		})
	}
}

// TestRetryAfterNeedsCertainty has a last attempt that was refused. Retry-After
// would have clients send the request again, which may be done already if an
// attempt before it was lost.
func TestRetryAfterNeedsCertainty(t *testing.T) {
	for uncertain, code := range map[bool]int{false: 503, true: 502} {
		w := httptest.NewRecorder()
		x := &exchange{w: w, r: httptest.NewRequest(http.MethodGet, "/api", nil), uncertain: uncertain}
		x.failAttempt(verdictRefused, errors.New("connection refused"))
		if after := w.Header().Get("Retry-After"); w.Code != code || (after != "") != (code == 503) {
			t.Errorf("uncertain %t: %d with Retry-After %q, want %d", uncertain, w.Code, after, code)
		}
	}
}

// TestUpgradesAreSentAgainOnlyUnprocessed: a server beyond the API server may
// already have acted on an upgrade when it says that it is shutting down.
func TestUpgradesAreSentAgainOnlyUnprocessed(t *testing.T) {
	for name, c := range map[string]struct {
		v              verdict
		plain, upgrade bool
	}{
		"the API server shuts down":    {verdictShuttingDown, true, true},
		"a server beyond may":          {verdictShuttingBeyond, true, false},
		"nobody listens":               {verdictRefused, true, true},
		"lost":                         {verdictLost, true, false},
		"the idle connection was shut": {verdictStale, true, false},
		"unavailable":                  {verdictUnavailable, true, false},
		"answered":                     {verdictOK, false, false},
	} {
		for upgrade, want := range map[bool]bool{false: c.plain, true: c.upgrade} {
			x := &exchange{
				cluster: &Cluster{Retry: balancer.DefaultConfig().Retry}, upgrade: upgrade, start: time.Now(),
				r: httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/namespaces/x/pods/p/exec", nil),
			}
			if got := x.mayResend(c.v); got != want {
				t.Errorf("%s, upgrade %t: sent again %t, want %t", name, upgrade, got, want)
			}
		}
	}
}
