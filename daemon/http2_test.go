package daemon_test

import (
	"net/http"
	"testing"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestHTTP2FaultsOnWatches brings the faults of HTTP/2 to watches, which are
// what goes over it: what the server did not process is asked for again and
// the client sees one answer.
func TestHTTP2FaultsOnWatches(t *testing.T) {
	event := fakeapi.Text(200, "{\"type\":\"BOOKMARK\"}\n")
	for name, fault := range map[string]http.Handler{
		"REFUSED_STREAM":                         fakeapi.RefusedStream(),
		"GOAWAY, not processed":                  fakeapi.GoAwayUnprocessed(),
		"GOAWAY and answered":                    fakeapi.GoAwayThenAnswer(event),
		"GOAWAY, then the connection is gone":    fakeapi.GoAwayThenHangup(),
		"the connection is reset before headers": fakeapi.RST(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, servers(t, 2))
			bound := r.bound()
			r.Servers[bound].Handle("GET /api/v1/pods", fault, event)
			r.Servers[1-bound].Handle("GET /api/v1/pods", event)
			got := r.do("GET", "/api/v1/pods?watch=true", "")
			if got.Err != nil || got.Code != 200 || got.Body != "{\"type\":\"BOOKMARK\"}\n" {
				t.Errorf("watch: %+v, want its one event", got)
			}
			if first := r.Servers[bound].Requests("GET /api/v1/pods"); len(first) == 0 || first[0].Proto != "HTTP/2.0" {
				t.Errorf("the watch did not go over HTTP/2: %+v", first)
			}
			if s := r.state(bound); s.Breaker != "closed" {
				t.Errorf("the breaker moved: %+v", s)
			}
		})
	}
}
