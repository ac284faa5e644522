package filter

import "net/http"

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
