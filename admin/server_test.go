package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func newServer(t *testing.T, change func(*Options)) *Server {
	t.Helper()
	o := Options{
		Status:   func() Status { return Status{Version: "v1.2.3"} },
		Ready:    func() error { return nil },
		Registry: filled().Registry(),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(Config{Address: "127.0.0.1:0"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(s *Server, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:9801"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEndpoints(t *testing.T) {
	s := newServer(t, nil)
	for _, c := range []struct {
		path, accept, wantType, wantBody string
		wantCode                         int
	}{
		{"/healthz", "", "text/plain; charset=utf-8", "ok\n", 200},
		{"/readyz", "", "text/plain; charset=utf-8", "ok\n", 200},
		{"/", "", "text/plain; charset=utf-8", "kuberelay v1.2.3\n", 200},
		{"/metrics", "", "text/plain; version=0.0.4", "kuberelay_build_info{", 200},
		{"/metrics", "application/openmetrics-text; version=1.0.0", "application/openmetrics-text", "# EOF", 200},
		{"/api/v1/status", "", "application/json", `"version": "v1.2.3"`, 200},
		{"/debug/pprof/", "", "application/json", `"reason":"NotFound"`, 404},
		{"/api/v1/status/", "", "application/json", `"reason":"NotFound"`, 404},
	} {
		r := ask(s, "GET", c.path, "Accept", c.accept)
		body := bodyOf(t, r)
		if r.StatusCode != c.wantCode || !strings.HasPrefix(r.Header.Get("Content-Type"), c.wantType) || !strings.Contains(body, c.wantBody) {
			t.Errorf("%s: %d %s %.200q, want %d %s with %q", c.path, r.StatusCode, r.Header.Get("Content-Type"), body, c.wantCode, c.wantType, c.wantBody)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", c.path, r.Header)
		}
	}
}

func TestReadyzSaysWhichClusterAndWhy(t *testing.T) {
	s := newServer(t, func(o *Options) {
		o.Ready = func() error {
			return errors.New("cluster prod: no usable API server: 10.0.0.11:6443 is DOWN (connection refused)")
		}
	})
	r := ask(s, "GET", "/readyz")
	want := "not ready: cluster prod: no usable API server: 10.0.0.11:6443 is DOWN (connection refused)\n"
	if body := bodyOf(t, r); r.StatusCode != 503 || body != want {
		t.Errorf("%d %q, want 503 %q", r.StatusCode, body, want)
	}
	if r := ask(s, "GET", "/healthz"); r.StatusCode != 200 {
		t.Errorf("healthz is %d: the process is alive all the same", r.StatusCode)
	}
}

func TestTheGuardRefuses(t *testing.T) {
	s := newServer(t, nil)
	for name, c := range map[string]struct {
		method, target string
		header         []string
		code           int
		reason, cause  string
	}{
		"a name that DNS could rebind": {"GET", "/api/v1/status", []string{"Host", "evil.example.org:9801"}, 421, "MisdirectedRequest", "Host"},
		"a name that ends in an IP":    {"GET", "/metrics", []string{"Host", "127.0.0.1.example.org"}, 421, "MisdirectedRequest", "Host"},
		"a subdomain of localhost":     {"GET", "/metrics", []string{"Host", "x.localhost"}, 421, "MisdirectedRequest", "Host"},
		"another site's fetch":         {"GET", "/metrics", []string{"Sec-Fetch-Site", "cross-site"}, 403, "Forbidden", "CrossSite"},
		"a neighbour port's fetch":     {"GET", "/metrics", []string{"Sec-Fetch-Site", "same-site"}, 403, "Forbidden", "CrossSite"},
		"a foreign Origin":             {"GET", "/metrics", []string{"Origin", "https://evil.example.org"}, 403, "Forbidden", "CrossSite"},
		"an opaque Origin":             {"GET", "/metrics", []string{"Origin", "null"}, 403, "Forbidden", "CrossSite"},
		"POST":                         {"POST", "/metrics", nil, 405, "MethodNotAllowed", "Method"},
		"DELETE of what is not there":  {"DELETE", "/nothing", nil, 405, "MethodNotAllowed", "Method"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ask(s, c.method, c.target, c.header...)
			var status metav1.Status
			if err := json.NewDecoder(r.Body).Decode(&status); err != nil {
				t.Fatalf("%d: no Status: %v", r.StatusCode, err)
			}
			if r.StatusCode != c.code || status.Kind != "Status" || int(status.Code) != c.code || string(status.Reason) != c.reason ||
				string(status.Details.Causes[0].Type) != c.cause {
				t.Errorf("%d %+v, want %d %s because of %s", r.StatusCode, status, c.code, c.reason, c.cause)
			}
			if c.code == 405 && r.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow is %q", r.Header.Get("Allow"))
			}
		})
	}
}

// Prometheus scrapes a machine by its name.
func TestTheGuardKnowsTheMachinesName(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Address: "0.0.0.0:9801"}, newServer(t, nil).options)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/metrics", "/readyz"} {
		if r := ask(s, "GET", path, "Host", hostname+":9801"); r.StatusCode != 200 {
			t.Errorf("%s of %s: %d, want 200", path, hostname, r.StatusCode)
		}
	}
}

func TestNamesOfTheAdminServer(t *testing.T) {
	got := namesOf("0.0.0.0:9801", "Bastion-1.example.org", []string{"Relay.example.org.", "10.1.0.1", "bastion-1"})
	want := []string{"0.0.0.0", "bastion-1.example.org", "bastion-1", "relay.example.org", "10.1.0.1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := namesOf(":9801", "", nil); len(got) != 0 {
		t.Errorf("%q for a machine without a name", got)
	}
	for host, want := range map[string]bool{
		"BASTION-1:9801": true, "bastion-1.": true, "bastion-1.example.org": true, "relay.example.org:9801": true,
		"bastion-2:9801": false, "bastion-1.evil.example.org": false, "example.org": false,
	} {
		if hostAllowed(host, namesOf("0.0.0.0:9801", "Bastion-1.example.org", []string{"Relay.example.org"})) != want {
			t.Errorf("%s: %v, want %v", host, !want, want)
		}
	}
}

func TestTheGuardSaysWhatToSet(t *testing.T) {
	for set, want := range map[string]string{"admin.hosts": "add the name to admin.hosts", "": "give --admin-address the name"} {
		s := newServer(t, func(o *Options) { o.Hosts = set })
		if body := bodyOf(t, ask(s, "GET", "/metrics", "Host", "relay.example.org:9801")); !strings.Contains(body, want) {
			t.Errorf("%s, want %q", body, want)
		}
	}
}

func TestTheGuardLetsPass(t *testing.T) {
	s, err := New(Config{Address: "relay.example.org:9801", Hosts: []string{"Alias.example.org"}}, newServer(t, nil).options)
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string][]string{
		"IPv4":                     {"Host", "10.1.0.1:9801"},
		"IPv4 without a port":      {"Host", "10.1.0.1"},
		"IPv6":                     {"Host", "[::1]:9801"},
		"IPv6 without a port":      {"Host", "[::1]"},
		"localhost":                {"Host", "LocalHost:9801"},
		"the configured host":      {"Host", "Relay.example.org:9801"},
		"a further host":           {"Host", "alias.example.org:9801"},
		"an HTTP/1.0 probe":        {"Host", ""},
		"a typed address":          {"Sec-Fetch-Site", "none"},
		"a page of its own":        {"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:9801"},
		"HEAD, by a load balancer": {"Host", "127.0.0.1"},
	} {
		method := "GET"
		if strings.HasPrefix(name, "HEAD") {
			method = "HEAD"
		}
		if r := ask(s, method, "/healthz", header...); r.StatusCode != 200 {
			t.Errorf("%s: %d, want 200", name, r.StatusCode)
		}
	}
}

func TestStatusDocument(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	s := newServer(t, func(o *Options) {
		o.Status = func() Status {
			return Status{
				Version: "v1.2.3", StartedAt: time.Date(2026, 1, 2, 4, 0, 0, 0, berlin), UptimeSeconds: 42,
				Clusters: []ClusterStatus{{Name: "prod", Ready: true, Policy: "sticky", Upstreams: []UpstreamStatus{
					{ID: "10.0.0.11:6443", URL: "https://me:hunter2@10.0.0.11:6443", Source: SourceDiscovered, State: "READY",
						Since: time.Date(2026, 1, 2, 3, 0, 1, 0, time.UTC), Breaker: "closed", InFlight: 3, Streams: 2, Weight: 1},
				}}, {Name: "dev", Reason: "no upstream"}},
				InFlight: InFlightStatus{Requests: 3, Watches: 2},
			}
		}
	})
	want := `{
  "version": "v1.2.3",
  "startedAt": "2026-01-02T03:00:00Z",
  "uptimeSeconds": 42,
  "clusters": [
    {
      "name": "prod",
      "ready": true,
      "policy": "sticky",
      "upstreams": [
        {
          "id": "10.0.0.11:6443",
          "url": "https://10.0.0.11:6443",
          "source": "discovered",
          "state": "READY",
          "since": "2026-01-02T03:00:01Z",
          "breaker": "closed",
          "inFlight": 3,
          "streams": 2,
          "weight": 1,
          "latency": []
        }
      ]
    },
    {
      "name": "dev",
      "ready": false,
      "reason": "no upstream",
      "upstreams": []
    }
  ],
  "listeners": [],
  "inFlight": {
    "requests": 3,
    "watches": 2,
    "logs": 0,
    "upgrades": 0
  },
  "clients": [],
  "credentials": [],
  "peers": [],
  "events": []
}
`
	if diff := cmp.Diff(want, bodyOf(t, ask(s, "GET", "/api/v1/status"))); diff != "" {
		t.Error(diff)
	}
}

func TestStartBindsOrSaysWhyNot(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s, err := New(Config{Address: taken.Addr().String()}, newServer(t, nil).options)
	if err != nil {
		t.Fatal(err)
	}
	want := "--admin-address: listen tcp " + taken.Addr().String() + ": bind: address already in use"
	if err := s.Start(t.Context()); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if s.Addr() != nil {
		t.Errorf("bound %v", s.Addr())
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown of what never started: %v", err)
	}
}

func TestNewRefusesBadInput(t *testing.T) {
	good := newServer(t, nil).options
	for _, c := range []struct {
		address string
		change  func(*Options)
		want    string
	}{
		{"", nil, "--admin-address: no address given"},
		{"9801", nil, `--admin-address: "9801" is no host:port`},
		{"a:b:c", func(o *Options) { o.Source = "admin.address" }, `admin.address: "a:b:c" is no host:port`},
		{"127.0.0.1:0", func(o *Options) { o.Ready = nil }, "Ready"},
	} {
		o := good
		if c.change != nil {
			c.change(&o)
		}
		if _, err := New(Config{Address: c.address}, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.address, err, c.want)
		}
	}
}

// get asks a running server on a connection of its own.
func get(t *testing.T, url string) (*http.Response, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client.Do(req)
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(o *Options) {
		o.Ready = func() error { close(entered); <-release; return nil }
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("a second Start went through")
	}
	url := "http://" + s.Addr().String()
	answered := make(chan string, 1)
	go func() {
		r, err := get(t, url+"/readyz")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		answered <- string(b)
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	<-s.Done() // it accepts no more, and the request is still unanswered
	close(release)
	if got := <-answered; got != "ok\n" {
		t.Errorf("the running request got %q", got)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := s.Err(); err != nil {
		t.Errorf("Err: %v", err)
	}
	if _, err := get(t, url+"/healthz"); err == nil {
		t.Error("it still answers")
	}
}

func TestShutdownCutsWhatIsTooSlow(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := newServer(t, func(o *Options) {
		o.Ready = func() error { close(entered); <-release; return nil }
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	cut := make(chan error, 1)
	go func() {
		r, err := get(t, "http://"+s.Addr().String()+"/readyz")
		if err == nil {
			r.Body.Close()
		}
		cut <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want the context's error", err)
	}
	if err := <-cut; err == nil {
		t.Error("the slow request was answered")
	}
}

func TestTheContextEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, nil)
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-s.Done()
	if err := s.Err(); err != nil {
		t.Errorf("Err: %v, want none: it was asked to end", err)
	}
}

func FuzzHostAllowed(f *testing.F) {
	for _, host := range []string{"", "localhost", "127.0.0.1:1", "[::1]:1", "[::1%eth0]", "evil.example.org", ":", "[", "localhost.", "a:b:c"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, hostport string) {
		if !hostAllowed(hostport, nil) || hostport == "" {
			return
		}
		// Whatever passes is an address or localhost in another parser's eyes too.
		u, err := url.Parse("http://" + hostport)
		if err != nil {
			return
		}
		host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if _, err := netip.ParseAddr(host); err != nil && host != "localhost" {
			t.Errorf("%q was let in, whose host is %q", hostport, host)
		}
	})
}
