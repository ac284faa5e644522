package proxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kuberelay/kuberelay/balancer"
)

// served is a Recorder that counts what is open, and the groups of a cluster
// without any.
type served struct {
	Recorder
	Groups
	open int
}

func (s *served) Begin(string, string)                       { s.open++ }
func (s *served) End(string, *Record)                        { s.open-- }
func (s *served) Lookup(string, string) (group, kind string) { return "", "" }
func (s *served) Aggregated(string, string) bool             { return false }

// TestPanicLeavesNothingBehind wants a request whose handler panics to leave the
// registry and the record like any other: net/http survives that, and a drain
// would wait for the request for ever.
func TestPanicLeavesNothingBehind(t *testing.T) {
	var registry Registry
	s := &served{}
	h := NewHandler(Options{
		Cluster:  &Cluster{Pool: balancer.NewPool[*Upstream](balancer.DefaultConfig(), balancer.Options{}), Groups: s}, // no Credentials: a nil dereference
		Registry: &registry, Recorder: s, APIPrefix: "/",
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/api", nil))
	}()
	if registry.Len() != 0 || s.open != 0 {
		t.Errorf("%d flights and %d records left open", registry.Len(), s.open)
	}
}
