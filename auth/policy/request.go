package policy

import (
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpguts"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// Request is what a policy decides on.
type Request struct {
	// Info is Kubernetes' reading of the request: group, resource, namespace,
	// name, and the verb that the API server itself will see.
	Info *request.RequestInfo
	// Upgrade says whether the connection is to become a WebSocket or a SPDY
	// connection.
	Upgrade bool
}

// factory reads requests as the API server does. An API server has no other
// prefixes, and the core group is its only one without a group in the path.
var factory = request.RequestInfoFactory{
	APIPrefixes:          sets.NewString("api", "apis"),
	GrouplessAPIPrefixes: sets.NewString("api"),
}

// maxParameters is how many parameters a query may have. From 10,000 on,
// net/url reads none of them, and older versions of it read all.
const maxParameters = 1000

// Parse reads a request from the method, the escaped path and the raw query
// that are going to be written upstream, byte for byte. The error is a
// *PathError: for a path that is not [Canonical], a method or a query that
// cannot stand in a request line, or a path that ends before its resource.
func Parse(method, escapedPath, rawQuery string, upgrade bool) (Request, error) {
	path, err := decode(escapedPath)
	if err != nil {
		return Request{}, err
	}
	if !validMethod(method) {
		return Request{}, &PathError{escapedPath, "the request's method " + quote(method) + " is none"}
	}
	if reason := queryProblem(rawQuery); reason != "" {
		return Request{}, &PathError{escapedPath, reason}
	}
	info, err := factory.NewRequestInfo(&http.Request{
		Method: method,
		URL:    &url.URL{Path: path, RawPath: escapedPath, RawQuery: rawQuery},
	})
	if err != nil { // Its text has the whole URL, and so the query: that stays here.
		return Request{}, &PathError{escapedPath, "it ends where the name of a resource has to be"}
	}
	return Request{Info: info, Upgrade: upgrade}, nil
}

// validMethod reports whether a method is a token (RFC 9110, section 5.6.2).
func validMethod(method string) bool {
	switch method { // the common ones at once
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead:
		return true
	}
	for _, c := range method {
		if !httpguts.IsTokenRune(c) {
			return false
		}
	}
	return method != ""
}

// queryProblem is what is wrong with a raw query, "" if nothing is.
func queryProblem(query string) string {
	parameters := 1
	for i := range len(query) {
		switch c := query[i]; {
		case c <= ' ' || c == 0x7f:
			return "the query has a space or a control character"
		case c == '#':
			return `the query has a "#" that is not percent-encoded`
		case c == '&':
			parameters++
		}
	}
	if parameters > maxParameters {
		return "the query has more than 1000 parameters"
	}
	return ""
}

// Verb is the verb that a policy has to allow: the API server's own, except
// where that says too little of what is asked for. "" is a verb that no
// policy knows.
//
// Whatever their methods, exec, attach, portforward and proxy need create: the
// API server takes a GET for each of them. So do reading ephemeralcontainers
// of pods or tokens of service accounts, and every upgrade that is not a watch
// or a pod's log.
func (r *Request) Verb() string {
	verb := r.natural()
	switch {
	case r.reachesInside():
		return create
	case verb != "" && r.needsCreate(verb):
		return create
	}
	return verb
}

// create is the verb of what changes something whatever its method says.
const create = "create"

// natural is the API server's verb, or "" if that is none that a policy knows.
func (r *Request) natural() string {
	if r.Info == nil || !requestVerb(r.Info.Verb, r.Info.IsResourceRequest) {
		return ""
	}
	return r.Info.Verb
}

// needsCreate reports whether a request that stays within the API server needs
// create nevertheless.
func (r *Request) needsCreate(verb string) bool {
	info := r.Info
	core := info.IsResourceRequest && info.APIGroup == ""
	of := func(resource, subresource string) bool {
		return core && info.Resource == resource && info.Subresource == subresource
	}
	watch := info.IsResourceRequest && verb == "watch"
	if r.Upgrade && !watch && !of("pods", "log") {
		return true
	}
	return reads(verb) && (of("pods", "ephemeralcontainers") || of("serviceaccounts", "token"))
}

// reachesInside reports whether the request runs something in a pod or behind the
// API server, in any group: KubeVirt and others name theirs alike.
func (r *Request) reachesInside() bool {
	if r.Info == nil || !r.Info.IsResourceRequest {
		return false
	}
	switch r.Info.Subresource {
	case "exec", "attach", "portforward", "proxy":
		return true
	}
	return r.Info.Verb == "proxy" // the deprecated /api/v1/proxy/…
}

// alsoNatural reports whether a request that needs create needs its natural verb
// too: to ask for an upgrade is a header, and a server that does not know it
// there does what the method says.
func (r *Request) alsoNatural(natural string) bool {
	return r.Upgrade && natural != "" && !reads(natural) && !r.reachesInside()
}

// reads reports whether a verb, or an HTTP method in lower case, changes nothing.
func reads(verb string) bool {
	switch verb {
	case "get", "list", "watch", "head", "options":
		return true
	}
	return false
}
