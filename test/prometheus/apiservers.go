package main

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
)

// apiServers answer as much as kuberelay asks an API server for.
type apiServers struct {
	servers  []*httptest.Server
	requests []atomic.Int64 // for objects, by server
	unlucky  atomic.Int64   // requests for the pod of that name
	ca       []byte         // PEM
}

func startAPIServers(n int) *apiServers {
	a := &apiServers{requests: make([]atomic.Int64, n)}
	for i := range n {
		s := httptest.NewUnstartedServer(a.handler(i))
		s.EnableHTTP2 = true
		s.StartTLS()
		a.servers = append(a.servers, s)
	}
	a.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.servers[0].Certificate().Raw})
	return a
}

func (a *apiServers) handler(i int) http.Handler {
	mux := http.NewServeMux()
	serve := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		})
	}
	serve("/readyz", "ok")
	serve("/livez", "ok")
	serve("/version", `{"major":"1","minor":"37","gitVersion":"v1.37.2"}`)
	serve("/api", `{"kind":"APIVersions","versions":["v1"]}`)
	serve("/apis", `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
	serve("/api/v1", `{"kind":"APIResourceList","groupVersion":"v1","resources":[`+
		`{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["create","get","list","watch"]}]}`)
	serve("/api/v1/namespaces/kube-system", `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"prometheus"}}`)
	serve("/api/v1/namespaces/default/pods/a", `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"default"}}`)
	// The first attempt of each request fails, whoever gets it.
	mux.HandleFunc("/api/v1/namespaces/default/pods/unlucky", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if a.unlucky.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","code":503}`))
			return
		}
		_, _ = w.Write([]byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"unlucky","namespace":"default"}}`))
	})
	mux.HandleFunc("/api/v1/namespaces/default/pods", func(w http.ResponseWriter, r *http.Request) {
		a.requests[i].Add(1)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			_, _ = w.Write([]byte(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`))
			return
		}
		_, _ = w.Write([]byte(`{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1"}}}` + "\n"))
		_ = http.NewResponseController(w).Flush() // the client may be gone
		<-r.Context().Done()
	})
	return mux
}

// kubeconfig names the first server.
func (a *apiServers) kubeconfig(caFile string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: check
clusters:
- {name: check, cluster: {server: %q, certificate-authority: %q}}
users:
- {name: check, user: {token: check}}
contexts:
- {name: check, context: {cluster: check, user: check}}
`, a.servers[0].URL, caFile)
}

// others are the URLs of all but the first.
func (a *apiServers) others() string {
	var urls []string
	for _, s := range a.servers[1:] {
		urls = append(urls, fmt.Sprintf("%q", s.URL))
	}
	return strings.Join(urls, ", ")
}

// killBusiest ends the server that has had the most requests, as kill -9 does.
func (a *apiServers) killBusiest() {
	busiest := 0
	for i := range a.requests {
		if a.requests[i].Load() > a.requests[busiest].Load() {
			busiest = i
		}
	}
	kill(a.servers[busiest])
}

func kill(s *httptest.Server) {
	_ = s.Listener.Close() // it may be closed already
	s.CloseClientConnections()
}

func (a *apiServers) stop() {
	for _, s := range a.servers {
		kill(s)
	}
}
