package filter

import (
	"net/http"
	"strings"
)

// Handler passes the requests that f allows to next and answers the others
// with [Forbidden].
func (f *Filter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f.Allowed(r.Method, r.URL.Path, r.Host) {
			Forbidden(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Forbidden is kubectl proxy's answer to a request that its filter rejects:
// 403, text/plain, nosniff, "Forbidden\n". The client's connection stays open.
func Forbidden(w http.ResponseWriter) {
	http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
}

// NotFound is kubectl proxy's answer to a path outside the API prefix: 404,
// text/plain, nosniff, "404 page not found\n".
func NotFound(w http.ResponseWriter) {
	http.Error(w, "404 page not found", http.StatusNotFound)
}

// APIPath returns the part of path that the filter and the API server see
// behind a listener's API prefix, which ends in a slash. The result is path
// without the prefix, beginning with a slash; or path itself if the prefix
// begins with /api, which kubectl takes to be part of the API. It is false for
// a path outside the prefix: [NotFound].
func APIPath(prefix, path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return "", false
	}
	if strings.HasPrefix(prefix, "/api") {
		return path, true
	}
	if rest == "" || rest[0] != '/' {
		return path[len(prefix)-1:], true
	}
	return rest, true
}
