package fakeapi

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
)

type object = map[string]any

// SetEndpoints sets the addresses (host:port) in the EndpointSlices of
// default/kubernetes, one slice for each port. The default is the server's own.
func (s *Server) SetEndpoints(addresses ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = append([]string{}, addresses...)
}

// builtin answers what no test scripted.
func (s *Server) builtin(w http.ResponseWriter, r *http.Request) {
	const slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
	switch path := r.URL.Path; {
	case isHealth(path):
		s.serveHealth(w, r)
	case path == "/version":
		writeJSON(w, http.StatusOK, object{"major": "1", "minor": "37", "gitVersion": s.options.Version, "platform": "linux/amd64"})
	case path == "/api/v1/namespaces/kube-system":
		writeJSON(w, http.StatusOK, object{"kind": "Namespace", "apiVersion": "v1",
			"metadata": object{"name": "kube-system", "uid": s.options.UID, "resourceVersion": "4"}})
	case path == slices:
		writeJSON(w, http.StatusOK, object{"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
			"metadata": object{"resourceVersion": "7"}, "items": s.endpointSlices()})
	case path == slices+"/kubernetes":
		writeJSON(w, http.StatusOK, s.endpointSlices()[0])
	case path == "/apis/apiregistration.k8s.io/v1/apiservices":
		writeJSON(w, http.StatusOK, object{"kind": "APIServiceList", "apiVersion": "apiregistration.k8s.io/v1", "metadata": object{}, "items": []object{
			{"metadata": object{"name": "v1.apps"}, "spec": object{"group": "apps", "version": "v1"}},
			{"metadata": object{"name": "v1beta1.metrics.k8s.io"}, "spec": object{"group": "metrics.k8s.io", "version": "v1beta1",
				"service": object{"namespace": "kube-system", "name": "metrics-server", "port": 443}}},
		}})
	case path == "/api" || path == "/apis":
		discovery(w, r)
	case strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/apis/"):
		writeStatus(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource", 0)
	default:
		http.NotFound(w, r)
	}
}

// endpointSlices groups the addresses by port, as the object does.
func (s *Server) endpointSlices() []object {
	s.mu.Lock()
	addresses := s.endpoints
	if addresses == nil {
		addresses = []string{s.Addr}
	}
	s.mu.Unlock()
	items := []object{}
	for i, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			continue
		}
		family, name := "IPv4", "kubernetes"
		if strings.Contains(host, ":") {
			family = "IPv6"
		}
		if i > 0 {
			name = fmt.Sprintf("kubernetes-%d", i)
		}
		items = append(items, object{"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": family,
			"metadata":  object{"name": name, "namespace": "default", "labels": object{"kubernetes.io/service-name": "kubernetes"}},
			"endpoints": []object{{"addresses": []string{host}, "conditions": object{"ready": true}}},
			"ports":     []object{{"name": "https", "protocol": "TCP", "port": json.Number(port)}}})
	}
	return items
}

// discovery answers /api and /apis, aggregated for those who can read that.
func discovery(w http.ResponseWriter, r *http.Request) {
	core := r.URL.Path == "/api"
	if !strings.Contains(r.Header.Get("Accept"), "as=APIGroupDiscoveryList") {
		if core {
			writeJSON(w, http.StatusOK, object{"kind": "APIVersions", "versions": []string{"v1"}})
			return
		}
		writeJSON(w, http.StatusOK, object{"kind": "APIGroupList", "apiVersion": "v1", "groups": []object{{"name": "apps",
			"versions":         []object{{"groupVersion": "apps/v1", "version": "v1"}},
			"preferredVersion": object{"groupVersion": "apps/v1", "version": "v1"}}}})
		return
	}
	group := func(name, version string, resources ...string) object {
		var list []object
		for _, resource := range resources {
			list = append(list, object{"resource": resource, "scope": "Namespaced", "verbs": []string{"get", "list", "watch"}})
		}
		return object{"metadata": object{"name": name}, "versions": []object{{"version": version, "freshness": "Current", "resources": list}}}
	}
	items := []object{group("apps", "v1", "deployments"), group("example.org", "v1", "widgets"), group("metrics.k8s.io", "v1beta1", "nodes", "pods")}
	if core {
		items = []object{group("", "v1", "configmaps", "namespaces", "pods", "secrets")}
	}
	w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	writeJSON(w, http.StatusOK, object{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": object{}, "items": items})
}
