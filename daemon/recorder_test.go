package daemon_test

import (
	"testing"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestAccessLogNamesTheListener wants it in the line of a request that passes
// and in that of one that is refused.
func TestAccessLogNamesTheListener(t *testing.T) {
	t.Parallel()
	r := start(t, servers(t, 1), func(cfg *config.Configuration) { cfg.Log.AccessLog = true })
	r.all("GET /api/v1/pods", fakeapi.Text(200, "fine"))
	r.do("GET", "/api/v1/pods", "")
	r.do("TRACE", "/api/v1/pods", "")
	for _, message := range []string{"request", "request refused"} {
		r.await("a line "+message, func() bool { return r.Logs.FilterMessage(message).Len() > 0 })
		for _, e := range r.Logs.FilterMessage(message).All() {
			if e.ContextMap()["listener"] != "proxy" {
				t.Errorf("%s: %v, want the listener's name", message, e.ContextMap())
			}
		}
	}
}
