package fakeapi

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// pattern says which requests a route is for.
type pattern struct {
	text, method, path string
	prefix, query      bool
}

// parsePattern reads "[METHOD ]PATH". PATH is compared with the request-target,
// byte for byte, without its query unless PATH has one. A * at the end stands
// for any rest, and * alone for every path that is no health endpoint.
func parsePattern(text string) pattern {
	p := pattern{text: text, path: text}
	if method, path, ok := strings.Cut(text, " "); ok {
		p.method, p.path = method, path
	}
	p.query = strings.Contains(p.path, "?")
	if p.path != "*" {
		p.path, p.prefix = strings.CutSuffix(p.path, "*")
	}
	return p
}

func (p pattern) match(method, target string) bool {
	if p.method != "" && p.method != method {
		return false
	}
	path, _, _ := strings.Cut(target, "?")
	if p.path == "*" {
		return !isHealth(path)
	}
	if p.query {
		path = target
	}
	if p.prefix {
		return strings.HasPrefix(path, p.path)
	}
	return path == p.path
}

// route is a pattern with the handlers for one request after the other.
type route struct {
	pattern  pattern
	mu       sync.Mutex
	handlers []http.Handler // guarded by mu; the last one stays
}

func (r *route) next() http.Handler {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.handlers[0]
	if len(r.handlers) > 1 {
		r.handlers = r.handlers[1:]
	}
	return h
}

// Handle answers the requests that match the pattern, "[METHOD ]PATH", with the
// handlers: the first request with the first one, and so on; the last handler
// stays. PATH is compared with the request-target byte for byte, without its
// query unless PATH has one; a * at the end stands for any rest, and * alone for
// every path that is no health endpoint. Of several patterns that match, the one
// set last counts; no handler at all removes the pattern.
func (s *Server) Handle(pattern string, handlers ...http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes = slices.DeleteFunc(slices.Clone(s.routes), func(r *route) bool { return r.pattern.text == pattern })
	if len(handlers) > 0 {
		s.routes = slices.Insert(s.routes, 0, &route{pattern: parsePattern(pattern), handlers: handlers})
	}
}

// RequireToken lets only requests pass that present one of the bearer tokens,
// or a client certificate; others get 401, as from a real server. Without
// tokens everyone passes again. Health endpoints and /version ask for nothing.
func (s *Server) RequireToken(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = nil
	for _, token := range tokens {
		if s.tokens == nil {
			s.tokens = map[string]bool{}
		}
		s.tokens[token] = true
	}
}

// pick finds the handler for a request.
func (s *Server) pick(r *http.Request) http.Handler {
	s.mu.Lock()
	routes, tokens := s.routes, s.tokens
	s.mu.Unlock()
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if tokens != nil && !isHealth(path) && path != "/version" && !authenticated(r, tokens) {
		return Unauthorized()
	}
	for _, route := range routes {
		if route.pattern.match(r.Method, r.RequestURI) {
			return route.next()
		}
	}
	return http.HandlerFunc(s.builtin)
}

func authenticated(r *http.Request, tokens map[string]bool) bool {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return true
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && tokens[token]
}

// Token answers 401 to requests without the bearer token, and passes the others
// to next.
func Token(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			Unauthorized().ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
