package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/kuberelay/kuberelay/balancer"
)

// Target is what a request asks of the Kubernetes API, as far as balancing,
// retries and metric labels need it. It agrees with RequestInfo of
// k8s.io/apiserver, which a test checks; it is not used for policy.
type Target struct {
	Verb        string // get, list, watch, create, update, patch, delete, deletecollection; lower-case method elsewhere
	Group       string // API group, "" for core
	Version     string // API version
	Resource    string // plural resource, "" for non-resource paths
	Subresource string // log, exec, proxy, status, …
	IsResource  bool
}

// maxParts is how deep a resource path is read: prefix, group, version, a
// verb, "namespaces", its name, resource, name and subresource.
const maxParts = 9

// ParseTarget reads the verb, group, version, resource and subresource from a
// method, a decoded path and a raw query. It never fails: what is no
// resource path is a non-resource target whose verb is the lower-case method.
//
// Source: Kubernetes documentation, "Kubernetes API Concepts", resource URIs.
func ParseTarget(method, path, rawQuery string) Target {
	var buf [maxParts]string
	parts := splitPath(path, &buf)
	nonResource := Target{Verb: lowerMethod(method)}
	if len(parts) < 3 {
		return nonResource
	}
	t := Target{IsResource: true}
	switch parts[0] {
	case "api":
		parts = parts[1:]
	case "apis":
		if len(parts) < 4 {
			return nonResource
		}
		t.Group = parts[1]
		parts = parts[2:]
	default:
		return nonResource
	}
	t.Version = parts[0]
	parts = parts[1:]

	switch parts[0] {
	case "watch", "proxy": // the deprecated /api/v1/watch/… form
		if len(parts) < 2 {
			return nonResource
		}
		t.Verb = parts[0]
		parts = parts[1:]
	default:
		t.Verb = resourceVerb(method)
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
	}
	t.Resource = parts[0]
	if len(parts) > 2 && t.Verb != "proxy" {
		t.Subresource = parts[2]
	}
	if len(parts) < 2 || parts[1] == "" {
		switch t.Verb {
		case "get":
			t.Verb = "list"
			if queryTrue(rawQuery, "watch") {
				t.Verb = "watch"
			}
		case "delete":
			t.Verb = "deletecollection"
		}
	}
	return t
}

func resourceVerb(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodGet, http.MethodHead:
		return "get"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return ""
}

// splitPath cuts a path into its first maxParts segments, in buf.
func splitPath(path string, buf *[maxParts]string) []string {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	n := 0
	for n < maxParts {
		segment, rest, more := strings.Cut(path, "/")
		buf[n] = segment
		n++
		if !more {
			break
		}
		path = rest
	}
	return buf[:n]
}

// LongRunning reports whether the answer may stream for as long as it likes:
// watches, logs, and everything that reaches into a pod or a node.
func (t Target) LongRunning() bool {
	return t.Verb == "watch" || t.Verb == "proxy" || t.reachesBeyond()
}

// reachesBeyond reports whether a kubelet, a pod or a service answers, and not
// the API server itself.
func (t Target) reachesBeyond() bool {
	switch t.Subresource {
	case "log", "exec", "attach", "portforward", "proxy":
		return true
	}
	return t.Verb == "proxy"
}

// upgradable reports whether the endpoint is one that uses WebSocket or SPDY:
// exec, attach, portforward and proxy of pods, proxy of services and nodes,
// and watches and logs, which the API server also serves over WebSocket.
func (t Target) upgradable() bool {
	return t.IsResource && (t.Verb == "watch" || t.reachesBeyond())
}

// review reports whether a POST only asks a question: SubjectAccessReview,
// TokenReview and their relatives store nothing.
func (t Target) review() bool {
	if t.Verb != "create" {
		return false
	}
	switch t.Group {
	case "authorization.k8s.io":
		switch t.Resource {
		case "subjectaccessreviews", "selfsubjectaccessreviews", "localsubjectaccessreviews", "selfsubjectrulesreviews":
			return true
		}
	case "authentication.k8s.io":
		return t.Resource == "tokenreviews" || t.Resource == "selfsubjectreviews"
	}
	return false
}

// safe reports whether sending the request twice changes nothing: GET and HEAD
// (RFC 9110, section 9.2.1), dry runs and reviews. Upgrades are never safe:
// a WebSocket exec is a GET (KEP-4006).
func (t Target) safe(method, rawQuery string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return true
	}
	return t.review() || (t.IsResource && !t.reachesBeyond() && queryValue(rawQuery, "dryRun") == "All")
}

// kind is how the balancer treats the request.
func (t Target) kind(method, rawQuery string, upgrade bool) balancer.Kind {
	switch {
	case upgrade:
		return balancer.Upgrade
	case t.Verb == "watch", t.Subresource == "log" && queryTrue(rawQuery, "follow"):
		return balancer.Watch
	case method != http.MethodGet && method != http.MethodHead:
		return balancer.Write
	case !t.IsResource, queryValue(rawQuery, "resourceVersion") != "":
		// Discovery differs between versions during an upgrade, and a read at
		// resourceVersion 0 or N may be older on another server: stay put.
		return balancer.CachedRead
	}
	return balancer.QuorumRead
}

func lowerMethod(method string) string {
	switch method { // the common ones without allocating
	case http.MethodGet:
		return "get"
	case http.MethodHead:
		return "head"
	case http.MethodPost:
		return "post"
	case http.MethodPut:
		return "put"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	case http.MethodOptions:
		return "options"
	}
	return strings.ToLower(method)
}

// queryFirst returns the first value of a query parameter as [url.ParseQuery]
// reads it, without building a map: most requests have a short query or none.
func queryFirst(rawQuery, key string) (value string, found bool) {
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		if pair == "" || strings.Contains(pair, ";") {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		if k != key && !strings.ContainsAny(k, "%+") {
			continue
		}
		k, err := url.QueryUnescape(k)
		if err != nil || k != key {
			continue
		}
		if v, err = url.QueryUnescape(v); err == nil {
			return v, true
		}
	}
	return "", false
}

func queryValue(rawQuery, key string) string {
	v, _ := queryFirst(rawQuery, key)
	return v
}

// queryTrue reports whether a boolean parameter is set as the API server reads
// it: present and neither "false" nor "0".
func queryTrue(rawQuery, key string) bool {
	v, found := queryFirst(rawQuery, key)
	return found && v != "0" && !strings.EqualFold(v, "false")
}
