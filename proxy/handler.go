package proxy

import (
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/proxy/filter"
)

const auditIDHeader = "Audit-Id"

// Options are one listener's.
type Options struct {
	Listener string
	Cluster  *Cluster
	Registry *Registry
	Recorder Recorder
	Log      *zap.Logger
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
	// KeepAlive is the TCP keep-alive of upgraded connections: 0 keeps the
	// default, below 0 switches it off.
	KeepAlive time.Duration
}

// Handler serves one listener.
type Handler struct {
	o        Options
	draining atomic.Bool
}

// NewHandler returns the handler of one listener.
func NewHandler(o Options) *Handler {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Handler{o: o}
}

// Drain makes streams that begin from now on end at once, and those that run
// end at their next frame boundary.
func (h *Handler) Drain() {
	h.draining.Store(true)
	h.o.Registry.Drain()
}

// ServeHTTP is the data path of one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if to, ok := canonical(r.URL, h.o.APIPrefix, h.staticPrefix()); !ok {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return
	}
	if h.o.Filter != nil && filter.CrossSite(r.Header, r.Host) {
		h.deny(w, "cross-site", answerForbidden("CrossSite",
			"the request comes from a page of another site (its Origin or Sec-Fetch-Site header says so); use --disable-filter to allow that"))
		return
	}
	if p := h.staticPrefix(); p != "" && strings.HasPrefix(r.URL.Path, p) {
		if h.o.Filter != nil && !h.o.Filter.AllowedHost(r.Host) {
			h.o.Recorder.Denied("filter")
			filter.Forbidden(w)
			return
		}
		h.o.Static.ServeHTTP(w, r)
		return
	}
	if !strings.HasPrefix(r.URL.Path, h.o.APIPrefix) {
		filter.NotFound(w)
		return
	}
	decoded, escaped := h.strip(r.URL)
	if h.o.Filter != nil && !h.allowed(r.Method, decoded, r.Host) {
		h.o.Recorder.Denied("filter")
		filter.Forbidden(w)
		return
	}
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		h.deny(w, "method", answer{
			code: http.StatusMethodNotAllowed, reason: "MethodNotAllowed", cause: "Method",
			message: "the method " + r.Method + " is not proxied",
		})
		return
	}
	x := newExchange(h, w, r, decoded, escaped, start)
	x.serve()
}

func (h *Handler) deny(w http.ResponseWriter, reason string, a answer) {
	h.o.Recorder.Denied(reason)
	a.write(w, "")
}

// allowed asks the filter about the path as it is and as a hop that
// normalises it would see it, so that no spelling of a path gets by.
func (h *Handler) allowed(method, decoded, host string) bool {
	if !h.o.Filter.Allowed(method, decoded, host) {
		return false
	}
	clean := cleanPath(decoded)
	return clean == decoded || h.o.Filter.Allowed(method, clean, host)
}

func (h *Handler) staticPrefix() string {
	if h.o.Static == nil {
		return ""
	}
	return h.o.StaticPrefix
}

// strip removes the API prefix from the decoded and the escaped path, unless
// it begins with "/api", as in kubectl proxy.
func (h *Handler) strip(u *url.URL) (decoded, escaped string) {
	decoded, escaped = u.Path, u.EscapedPath()
	prefix := h.o.APIPrefix
	if prefix == "/" || strings.HasPrefix(prefix, "/api") {
		return decoded, escaped
	}
	prefix = strings.TrimSuffix(prefix, "/")
	decoded = strings.TrimPrefix(decoded, prefix)
	if rest, ok := strings.CutPrefix(escaped, prefix); ok {
		return decoded, rest
	}
	// The prefix itself was written with escapes: escape the rest anew.
	return decoded, (&url.URL{Path: decoded}).EscapedPath()
}

// canonical says whether a path is in its clean form, and if not where the
// client is redirected: repeated slashes and dot segments are cleaned, and
// the prefixes without their trailing slash get it. Percent-encoded dots
// count as dots, so that the request filter sees what an upstream that
// decodes them would.
func canonical(u *url.URL, prefixes ...string) (to string, ok bool) {
	escaped := u.EscapedPath()
	clean := escaped
	if needsCleaning(escaped) {
		clean = cleanPath(decodeDots(escaped))
	}
	for _, prefix := range prefixes {
		if prefix != "" && clean+"/" == prefix {
			clean = prefix
		}
	}
	if clean == escaped {
		return "", true
	}
	if u.RawQuery != "" || u.ForceQuery {
		clean += "?" + u.RawQuery
	}
	return clean, false
}

// needsCleaning finds the few paths worth the work: with an empty segment or
// one that begins with a dot, plain or encoded.
func needsCleaning(p string) bool {
	if p == "" || p[0] != '/' {
		return true
	}
	for i := 0; i+1 < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		switch rest := p[i+1:]; {
		case rest[0] == '/', rest[0] == '.':
			return true
		case len(rest) >= 3 && rest[0] == '%' && rest[1] == '2' && (rest[2]|0x20) == 'e':
			return true
		}
	}
	return false
}

func decodeDots(p string) string {
	if !strings.Contains(p, "%2") {
		return p
	}
	return strings.NewReplacer("%2e", ".", "%2E", ".").Replace(p)
}

// cleanPath is path.Clean that keeps a trailing slash, and always begins with
// exactly one slash: a redirect to it stays on this host.
func cleanPath(p string) string {
	if p == "" {
		return "/"
	}
	clean := path.Clean("/" + p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}

// peerIP is the client's address for X-Forwarded-For; "" on a unix socket.
func peerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
