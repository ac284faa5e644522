package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxScrapes bounds how many /metrics answers are put together at once.
const maxScrapes = 4

// pages is what the admin address and the control socket both serve.
type pages struct {
	options  Options
	errorLog *log.Logger
	more     string // lines of the index
}

func newPages(o Options) (*pages, error) {
	if o.Status == nil || o.Ready == nil || o.Registry == nil {
		return nil, errors.New("admin server: Status, Ready and Registry are required")
	}
	errorLog, err := zap.NewStdLogAt(o.Log, zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("admin server: %w", err)
	}
	return &pages{options: o, errorLog: errorLog}, nil
}

// handler serves the pages, without the guard.
func (s *pages) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{
		ErrorLog: s.errorLog, ErrorHandling: promhttp.ContinueOnError,
		EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes,
	}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("/readyz", s.readyz)
	mux.HandleFunc("/api/v1/status", s.status)
	mux.HandleFunc("/{$}", s.index)
	mux.HandleFunc("/page/{file}", asset)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "Path", "there is no such page; / lists them")
	})
	return readOnly(mux)
}

func (s *pages) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.options.Ready(); err != nil {
		text(w, http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
		return
	}
	text(w, http.StatusOK, "ok\n")
}

func (s *pages) status(w http.ResponseWriter, _ *http.Request) {
	body, err := json.MarshalIndent(s.options.Status().tidy(), "", "  ")
	if err != nil {
		refuse(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, "Encode", "encode status: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

// list lists the pages, for people with curl.
func (s *pages) list(w http.ResponseWriter) {
	text(w, http.StatusOK, "kuberelay "+s.options.Status().Version+`

/               this list; in a browser, the status page
/readyz         200 when every cluster has a usable API server
/healthz        200 while the process is alive
/metrics        Prometheus metrics
/api/v1/status  what the status page shows, as JSON
`+s.more)
}

func text(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprint(w, body) // the client may be gone
}
