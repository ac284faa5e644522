package fakeapi

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
)

func TestHealthEndpointsAnswerLikeTheRealOnes(t *testing.T) {
	s := New(t, Options{})
	c := newClient(t, s, false)
	if r := get(t, c, s.URL+"/readyz"); r.StatusCode != 200 || r.body != "ok" {
		t.Errorf("/readyz: %d %q", r.StatusCode, r.body)
	}
	if r := get(t, c, s.URL+"/livez?verbose"); r.StatusCode != 200 || !strings.HasPrefix(r.body, "[+]ping ok\n[+]log ok\n[+]etcd ok\n") || !strings.HasSuffix(r.body, "\nlivez check passed\n") {
		t.Errorf("/livez?verbose: %d %q", r.StatusCode, r.body)
	}
	s.FailReadyz("etcd", "shutdown")
	r := get(t, c, s.URL+"/readyz")
	want := `[+]ping ok
[+]log ok
[-]etcd failed: reason withheld
[+]etcd-readiness ok
[+]informer-sync ok
[+]poststarthook/start-apiserver-admission-initializer ok
[+]poststarthook/rbac/bootstrap-roles ok
[+]autoregister-completion ok
[-]shutdown failed: reason withheld
readyz check failed
`
	if diff := cmp.Diff(want, r.body); r.StatusCode != 500 || diff != "" {
		t.Errorf("/readyz: %d %s", r.StatusCode, diff)
	}
	if r := get(t, c, s.URL+"/readyz?exclude=etcd&exclude=shutdown"); r.StatusCode != 200 {
		t.Errorf("with both excluded: %d", r.StatusCode)
	}
	if r := get(t, c, s.URL+"/readyz/etcd"); r.StatusCode != 500 {
		t.Errorf("/readyz/etcd: %d", r.StatusCode)
	}
	if r := get(t, c, s.URL+"/livez"); r.StatusCode != 200 {
		t.Errorf("/livez: %d, only readyz fails", r.StatusCode)
	}
	s.FailReadyz()
	s.FailLivez("made-up")
	if r := get(t, c, s.URL+"/readyz"); r.StatusCode != 200 {
		t.Errorf("/readyz after recovery: %d", r.StatusCode)
	}
	if r := get(t, c, s.URL+"/healthz"); r.StatusCode != 500 || !strings.HasSuffix(r.body, "[-]made-up failed: reason withheld\nhealthz check failed\n") {
		t.Errorf("/healthz: %d %q", r.StatusCode, r.body)
	}
}

func TestBuiltinObjects(t *testing.T) {
	s := New(t, Options{UID: "cluster-1", Version: "v1.36.0"})
	s.SetEndpoints("10.0.0.1:6443", "[fd00::1]:7443")
	c := newClient(t, s, true)
	for path, want := range map[string]string{
		"/version":                       `"gitVersion":"v1.36.0"`,
		"/api/v1/namespaces/kube-system": `"uid":"cluster-1"`,
		"/api":                           `"kind":"APIVersions"`,
		"/apis":                          `"kind":"APIGroupList"`,
		"/api/v1/namespaces/x/pods":      `"reason":"NotFound"`,
		"/apis/apiregistration.k8s.io/v1/apiservices":                               `"kind":"APIServiceList"`,
		"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector": `"addressType":"IPv6","apiVersion":"discovery.k8s.io/v1","endpoints":[{"addresses":["fd00::1"]`,
	} {
		if r := get(t, c, s.URL+path); !strings.Contains(r.body, want) {
			t.Errorf("%s: %s, want %s", path, r.body, want)
		}
	}
	r := get(t, c, s.URL+"/apis", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	if !strings.Contains(r.body, `"resource":"widgets"`) || r.Header.Get("Content-Type") != "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" {
		t.Errorf("aggregated discovery: %v %s", r.Header, r.body)
	}
}

func TestHandlersComeInOrderAndTheLastStays(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ string, s *Server, c *http.Client) {
		s.Handle("GET /api/v1/x", Text(500, "one"), Text(503, "two"), Text(200, "three"))
		s.Handle("/api/v1/y*", Text(200, "prefix"))
		s.Handle("/api/v1/y?a=1", Text(200, "query"))
		var got []string
		for _, path := range []string{"x", "x?b=2", "x", "x", "y/z", "y?a=1", "y?a=2"} {
			got = append(got, get(t, c, s.URL+"/api/v1/"+path).body)
		}
		if diff := cmp.Diff([]string{"one", "two", "three", "three", "prefix", "query", "prefix"}, got); diff != "" {
			t.Error(diff)
		}
		s.Handle("*", Text(418, "all"))
		if r := get(t, c, s.URL+"/api/v1/x"); r.StatusCode != 418 {
			t.Errorf("x: %d after a later *", r.StatusCode)
		}
		if r := get(t, c, s.URL+"/readyz"); r.StatusCode != 200 {
			t.Errorf("readyz: %d, * is not for health endpoints", r.StatusCode)
		}
		s.Handle("*")
		if r := get(t, c, s.URL+"/api/v1/x"); r.body != "three" {
			t.Errorf("x: %q after * was removed", r.body)
		}
	})
}

func TestRequestsAreRecorded(t *testing.T) {
	eachProtocol(t, func(t *testing.T, proto string, s *Server, c *http.Client) {
		s.Handle("*", Echo())
		body := strings.Repeat("kuberelay ", 300000) // 3 MB, over the HTTP/2 window
		r, err := send(t, c, "POST", s.URL+"/api/v1/a%2Fb?x=%20&y", body, "X-Test", "1", "X-Test", "2")
		if err != nil {
			t.Fatal(err)
		}
		get(t, c, s.URL+"/other")
		got := s.AwaitDone("POST /api/v1/a%2Fb", 1)[0]
		if got.Seq != 1 || got.Proto != proto || got.Target != "/api/v1/a%2Fb?x=%20&y" || got.Reused || got.Host != s.Addr ||
			!cmp.Equal(got.Header["X-Test"], []string{"1", "2"}) || got.BodyBytes != int64(len(body)) || got.BodyHash != HashOf([]byte(body)) || !got.BodyRead {
			t.Errorf("recorded %+v", got)
		}
		var echo Received
		if err := json.Unmarshal([]byte(r.body), &echo); err != nil {
			t.Fatal(err)
		}
		if echo.Target != got.Target || echo.BodyHash != got.BodyHash || echo.Proto != proto {
			t.Errorf("echoed %+v", echo)
		}
		if other := s.Requests("/other"); len(other) != 1 || !other[0].Reused || other[0].Conn != got.Conn {
			t.Errorf("the second request is recorded as %+v", other)
		}
		if open, accepted := s.Connections(); open != 1 || accepted != 1 {
			t.Errorf("%d of %d connections open, want 1 of 1", open, accepted)
		}
	})
}

func TestTokensAndClientCertificates(t *testing.T) {
	eachProtocol(t, func(t *testing.T, proto string, s *Server, c *http.Client) {
		s.RequireToken("old", "new")
		s.Handle("/api/v1/x", Text(200, "in"))
		s.Handle("/only-new", Token("new", Text(200, "in")))
		for _, step := range []struct {
			path, authorization string
			want                int
		}{
			{"/api/v1/x", "", 401}, {"/api/v1/x", "Bearer nope", 401}, {"/api/v1/x", "Bearer old", 200},
			{"/only-new", "Bearer old", 401}, {"/only-new", "Bearer new", 200},
			{"/readyz", "", 200}, {"/version", "", 200},
		} {
			r := get(t, c, s.URL+step.path, "Authorization", step.authorization)
			if r.StatusCode != step.want {
				t.Errorf("%s with %q: %d, want %d", step.path, step.authorization, r.StatusCode, step.want)
			}
		}
		_, accepted := s.Connections()
		if proto == "HTTP/1.1" && accepted != 1 {
			t.Errorf("%d connections, a 401 does not end one", accepted)
		}
		if proto == "HTTP/2.0" && accepted != 4 {
			t.Errorf("%d connections, each of the three 401 ends one", accepted)
		}

		certPEM, keyPEM := s.CA.ClientCertificate(t, "alice", "dev")
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		cfg := clientTLS(s)
		cfg.Certificates = []tls.Certificate{pair}
		transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: proto == "HTTP/2.0"}
		defer transport.CloseIdleConnections()
		if r := get(t, &http.Client{Transport: transport}, s.URL+"/api/v1/x"); r.StatusCode != 200 {
			t.Errorf("with a client certificate: %d", r.StatusCode)
		}
		all := s.Requests("/api/v1/x")
		if last := all[len(all)-1]; last.User != "alice" || last.Proto != proto {
			t.Errorf("recorded %+v, want alice", last)
		}
		s.RequireToken()
		if r := get(t, c, s.URL+"/api/v1/x"); r.StatusCode != 200 {
			t.Errorf("when no token is asked for: %d", r.StatusCode)
		}
	})
}

func TestKubeconfigWorksWithClientGo(t *testing.T) {
	for name, o := range map[string]Options{"TLS": {}, "plain": {Plain: true}, "HTTP/1.1 only": {HTTP1Only: true}} {
		t.Run(name, func(t *testing.T) {
			s := New(t, o)
			s.RequireToken("secret")
			cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig("secret"))
			if err != nil {
				t.Fatal(err)
			}
			tlsConfig := clientTLS(s)
			wantToken := "secret"
			if o.Plain {
				wantToken = "" // client-go reads no credential for http://
			}
			if cfg.BearerToken != wantToken || cfg.Host != s.URL {
				t.Errorf("host %q, token %q", cfg.Host, cfg.BearerToken)
			}
			transport := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
			defer transport.CloseIdleConnections()
			get(t, &http.Client{Transport: transport}, s.URL+"/api/v1/namespaces/kube-system", "Authorization", "Bearer secret")
			wantProto := "HTTP/2.0"
			if o.Plain || o.HTTP1Only {
				wantProto = "HTTP/1.1"
			}
			if got := s.Requests()[0]; got.Proto != wantProto {
				t.Errorf("asked over %s, want %s", got.Proto, wantProto)
			}
		})
	}
}

func TestStreamedBodies(t *testing.T) {
	eachProtocol(t, func(t *testing.T, _ string, s *Server, c *http.Client) {
		const size = 8 << 20
		chunks := make(chan string)
		s.Handle("/huge", Huge(size))
		s.Handle("/slow", Slow("abcdefg", 3, 1))
		s.Handle("/chunks", Chunks(chunks))
		s.Handle("/trailers", Trailers("body", "X-After", "yes", "X-More", "too"))
		s.Handle("/early", Informational(103, Text(200, "final"), "Link", "</a>; rel=preload"))

		want, err := HashOfPattern(size)
		if err != nil {
			t.Fatal(err)
		}
		if r := get(t, c, s.URL+"/huge"); HashOf([]byte(r.body)) != want || r.ContentLength != -1 {
			t.Errorf("huge: %d bytes, hash %s", len(r.body), HashOf([]byte(r.body)))
		}
		if r := get(t, c, s.URL+"/slow"); r.body != "abcdefg" || r.ContentLength != 7 {
			t.Errorf("slow: %q, length %d", r.body, r.ContentLength)
		}
		if r := get(t, c, s.URL+"/trailers"); r.body != "body" || r.Trailer.Get("X-After") != "yes" || r.Trailer.Get("X-More") != "too" {
			t.Errorf("trailers: %q %v", r.body, r.Trailer)
		}
		if r := get(t, c, s.URL+"/early"); r.body != "final" || r.Header.Get("Link") != "" {
			t.Errorf("early: %q %v", r.body, r.Header)
		}

		resp, err := c.Get(s.URL + "/chunks")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for _, chunk := range []string{"first", "second"} {
			chunks <- chunk
			got := make([]byte, len(chunk))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != chunk {
				t.Errorf("chunk %q (%v), want %q before the next is sent", got, err, chunk)
			}
		}
		close(chunks)
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("after the last chunk: %q, %v", rest, err)
		}
		if r, err := send(t, c, "HEAD", s.URL+"/slow", ""); err != nil || r.body != "" || r.ContentLength != 7 {
			t.Errorf("HEAD: %q, %v", r.body, err)
		}
	})
}

func TestAnswersOfRealServers(t *testing.T) {
	eachProtocol(t, func(t *testing.T, proto string, s *Server, c *http.Client) {
		for name, want := range map[string]struct {
			handler    http.Handler
			code       int
			retryAfter string
			body       string
		}{
			"APF":          {APF(), 429, "1", "Too many requests, please try again later.\n"},
			"shutting 429": {ShuttingDown429(), 429, "5", "The apiserver is shutting down, please try again later.\n"},
			"shutting 503": {ShuttingDown503(), 503, "1", `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"apiserver is shutting down","reason":"ServiceUnavailable","code":503}` + "\n"},
			"starting":     {Starting503(), 503, "5", `"details":{"retryAfterSeconds":5},"code":503}`},
			"initializing": {Initializing429(), 429, "1", `"message":"storage is (re)initializing","reason":"TooManyRequests","details":{"retryAfterSeconds":1}`},
			"eviction":     {EvictionRefused429(), 429, "10", "disruption budget"},
			"webhook":      {Webhook500(), 500, "", "failed calling webhook"},
			"aggregated":   {Aggregated503(), 503, "", "service unavailable\n"},
			"kubelet":      {Kubelet500(), 500, "", "containerLogs"},
			"too large":    {TooLargeResourceVersion504(), 504, "1", `"causes":[{"reason":"ResourceVersionTooLarge"`},
			"timeout":      {Timeout504(), 504, "", "Timeout: request did not complete within requested timeout"},
			"unauthorized": {Unauthorized(), 401, "", `"reason":"Unauthorized"`},
			"redirect":     {Respond(302, "", "Location", "/elsewhere"), 302, "", ""},
		} {
			s.Handle("/x", want.handler)
			r := get(t, c, s.URL+"/x")
			if r.StatusCode != want.code || r.Header.Get("Retry-After") != want.retryAfter || !strings.Contains(r.body, want.body) {
				t.Errorf("%s: %d, Retry-After %q, %s", name, r.StatusCode, r.Header.Get("Retry-After"), r.body)
			}
			if name == "APF" && r.Header.Get("X-Kubernetes-PF-FlowSchema-UID") == "" {
				t.Errorf("APF without its headers: %v", r.Header)
			}
			if name == "shutting 429" && r.Close != (proto == "HTTP/1.1") {
				t.Errorf("Connection: close is %v", r.Close)
			}
		}
	})
}
