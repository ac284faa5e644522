package proxy

import (
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

const auditIDHeader = "Audit-Id"

// Options are one listener's.
type Options struct {
	// Listener is its name.
	Listener string
	// Cluster is what a single listener forwards to. Required for one.
	Cluster *Cluster
	// Registry gets the listener's requests; all listeners share one. Required.
	Registry *Registry
	// Owner tells the requests of one address from those of others, whatever
	// serves it: see [Registry.EndAnonymous]. It is compared with ==.
	Owner any
	// Recorder hears of each request. Required.
	Recorder Recorder
	// Log gets what operators should know; nil: nothing is logged.
	Log *zap.Logger
	// Filter is kubectl proxy's request filter; nil: no filter and no
	// cross-site gate (--disable-filter).
	Filter *filter.Filter
	// APIPrefix begins and ends with a slash. It is stripped unless it
	// begins with "/api".
	APIPrefix string
	// Static serves StaticPrefix; nil: nothing does.
	Static       http.Handler
	StaticPrefix string
	// AppendServerPath puts the server URL's path before the request's.
	AppendServerPath bool
	// Shared makes it a shared listener's; Cluster, Filter, APIPrefix, Static
	// and AppendServerPath are not used then.
	Shared *SharedOptions
	// KeepAlive is the TCP keep-alive of upgraded connections: 0 keeps the
	// default, below 0 switches it off.
	KeepAlive time.Duration
	// Tracing makes spans of requests; nil: nothing does.
	Tracing *Tracing
}

// Handler serves one listener, single or shared.
type Handler struct {
	o        Options
	draining atomic.Bool
	warned   atomic.Int64 // Unix seconds of the last line about a refused credential
	retired  atomic.Pointer[EndedError]
}

// NewHandler returns the handler of one listener. It does not check o.
func NewHandler(o Options) *Handler {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Handler{o: o}
}

// Drain ends each new stream of the listener at its first frame boundary from
// now on; [Registry.Drain] then ends those that are open, of all listeners.
func (h *Handler) Drain() { h.draining.Store(true) }

// Retire has a single listener's requests refused from now on instead of sent;
// [Registry.EndAnonymous] ends those that were sent before.
func (h *Handler) Retire(why *EndedError) { h.retired.Store(why) }

// ServeHTTP is the data path of one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.o.Shared != nil {
		h.serveShared(w, r)
		return
	}
	h.serveSingle(w, r)
}

// serveSingle takes a request through kubectl proxy's gates.
func (h *Handler) serveSingle(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if r.URL.Path == "*" || r.URL.Path == "" && r.Method == http.MethodConnect {
		h.deny(w, r, deniedMethod, answerForm(w.Header(), r)) // OPTIONS * does not come here: the listener answers it
		return
	}
	static := h.staticPrefix()
	escaped := rawPath(r.URL)
	if to := canonical(escaped, h.o.APIPrefix, static); to != escaped {
		if r.URL.RawQuery != "" || r.URL.ForceQuery {
			to += "?" + r.URL.RawQuery
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return
	}
	if static != "" && strings.HasPrefix(r.URL.Path, static) {
		if h.o.Filter != nil && !h.o.Filter.AllowedHost(r.Host) {
			h.forbid(w, r, filter.Host)
			return
		}
		if !h.denyCrossSite(w, r) {
			h.o.Static.ServeHTTP(w, r)
		}
		return
	}
	decoded, escaped, inside := stripPrefix(h.o.APIPrefix, r.URL.Path, escaped)
	if !inside {
		filter.NotFound(w)
		return
	}
	if rule := h.broken(r.Method, decoded, r.Host); rule != "" {
		h.forbid(w, r, rule)
		return
	}
	if h.denyCrossSite(w, r) {
		return
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		h.deny(w, r, deniedMethod, answerForm(w.Header(), r))
		return
	}
	x := newExchange(h, h.o.Cluster, w, r, decoded, escaped, start)
	x.serve()
}

// forbid is the request filter's answer.
func (h *Handler) forbid(w http.ResponseWriter, r *http.Request, rule filter.Rule) {
	h.o.Recorder.Denied(r, Denial{Reason: string(rule), Code: http.StatusForbidden})
	filter.Forbidden(w)
}

// denyCrossSite refuses, where there is a filter, what a page of another site
// makes a browser send.
func (h *Handler) denyCrossSite(w http.ResponseWriter, r *http.Request) bool {
	if h.o.Filter == nil || !filter.CrossSite(r.Header, r.Host) {
		return false
	}
	h.deny(w, r, deniedCrossSite, answerForbidden("CrossSite",
		"the request comes from a page of another site (its Origin or Sec-Fetch-Site header says so); use --disable-filter to allow that"))
	return true
}

func (h *Handler) deny(w http.ResponseWriter, r *http.Request, reason string, a answer) {
	h.o.Recorder.Denied(r, Denial{Reason: reason, Code: a.code, Cause: a.message})
	a.write(w, auditID(r))
}

// auditID is the client's own, or a new one.
func auditID(r *http.Request) string {
	if id := r.Header.Get(auditIDHeader); id != "" {
		return id
	}
	return uuid.NewString()
}

// broken asks the filter about the path as it is and as a hop that resolves
// its decoded slashes and dots would see it, so that no spelling gets by.
func (h *Handler) broken(method, decoded, host string) filter.Rule {
	if h.o.Filter == nil {
		return ""
	}
	if rule := h.o.Filter.Broken(method, decoded, host); rule != "" {
		return rule
	}
	if resolved := resolve(decoded); resolved != decoded {
		return h.o.Filter.Broken(method, resolved, host)
	}
	return ""
}

func (h *Handler) staticPrefix() string {
	if h.o.Static == nil {
		return ""
	}
	return h.o.StaticPrefix
}

// peerIP is the client's address for X-Forwarded-For; "" on a unix socket.
func peerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
