package admin

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pageFiles are the status page: one HTML file and what it loads. It shows what
// /api/v1/status says, and nothing else.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page load its own files and ask its own server, and
// nothing else. No script can make HTML out of a string (Trusted Types), so
// what an API server or a client put into the status stays text.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// index serves the status page to browsers, and a list of the pages to everybody
// else.
func (s *pages) index(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.list(w)
		return
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
	w.Header().Set("Referrer-Policy", "no-referrer")
	pageFile(w, r, "index.html")
}

// asset serves what the status page loads.
func asset(w http.ResponseWriter, r *http.Request) { pageFile(w, r, r.PathValue("file")) }

func pageFile(w http.ResponseWriter, r *http.Request, name string) {
	body, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "Path", "the status page has no such file")
		return
	}
	w.Header().Set("Content-Type", pageTypes[path.Ext(name)])
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
}
