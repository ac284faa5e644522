package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// spansAt is a collector that keeps what it gets as bytes.
type spansAt struct {
	*httptest.Server
	mu  sync.Mutex
	got bytes.Buffer // guarded by mu
}

func newSpansAt(t *testing.T) *spansAt {
	t.Helper()
	c := &spansAt{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		io.WriteString(&c.got, r.URL.Path+"\n")
		io.Copy(&c.got, r.Body)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *spansAt) bytes() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// parentEcho is an API server that answers with the trace context it is told.
func parentEcho(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "parent "+r.Header.Get("Traceparent"))
	}))
	t.Cleanup(s.Close)
	return s
}

// A request through kuberelay proxy, with secrets wherever there is room.
func askWithCanaries(t *testing.T, p *process) string {
	t.Helper()
	url := "http://" + p.address + "/api/v1/namespaces/team-a/secrets/canary-name?token=canary-query"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("canary-body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer canary-token")
	req.Header.Set("Cookie", "canary-cookie")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestTracesAreSentWhenTheEnvironmentAsks(t *testing.T) {
	c, api := newSpansAt(t), parentEcho(t)
	p := serveIn(t, []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=canary-key", "OTEL_SERVICE_NAME=relay-of-alice",
	}, "--port=0", "--server="+api.URL, "--token=canary-kubeconfig")
	if got := askWithCanaries(t, p); !regexp.MustCompile(`^parent 00-[0-9a-f]{32}-[0-9a-f]{16}-01$`).MatchString(got) {
		t.Errorf("the API server was told %q, want a trace's context", got)
	}
	p.signal(syscall.SIGTERM)
	r := p.wait()
	if r.code != 0 {
		t.Errorf("exit code %d", r.code)
	}
	sent := c.bytes()
	for _, want := range []string{"/v1/traces\n", "relay-of-alice", "PUT secrets", "team-a", "kuberelay.outcome", "success"} {
		if !strings.Contains(sent, want) {
			t.Errorf("the spans lack %q", want)
		}
	}
	if strings.Contains(sent, "canary") || strings.Contains(r.stderr, "canary") {
		t.Errorf("a secret or a name is in the spans or the log:\n%q\n%s", sent, r.stderr)
	}
}

func TestTracesThatCannotBeSentStopNobody(t *testing.T) {
	away, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	api := parentEcho(t)
	for _, tc := range []struct {
		name string
		env  []string
		told *regexp.Regexp // the API server
		log  string
	}{
		{"a collector that does not answer", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + away.Addr().String()}, regexp.MustCompile(`^parent 00-`), "the last traces were not sent"},
		{"a protocol that kuberelay does not have", []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, regexp.MustCompile(`^parent $`), "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{"traces are not asked for", []string{"OTEL_SERVICE_NAME=x"}, regexp.MustCompile(`^parent $`), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := serveIn(t, tc.env, "--port=0", "--server="+api.URL)
			if got := askWithCanaries(t, p); !tc.told.MatchString(got) {
				t.Errorf("the API server was told %q, want %s", got, tc.told)
			}
			begun := time.Now()
			p.signal(syscall.SIGTERM)
			r := p.wait()
			if took := time.Since(begun); r.code != 0 || took > lastSpans+5*time.Second {
				t.Errorf("exit code %d after %v", r.code, took)
			}
			if !strings.Contains(r.stderr, tc.log) || tc.log == "" && strings.Contains(r.stderr, "trac") {
				t.Errorf("standard error %s, want %q in it", r.stderr, tc.log)
			}
		})
	}
}

func TestSecondSignalDoesNotWaitForTheCollector(t *testing.T) {
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+away.Addr().String())
	on := newTraces(zap.NewNop())
	_, span := on.ofRequests().Tracer.Start(t.Context(), "s")
	span.End()
	begun, told := time.Now(), interrupted{syscall.SIGTERM}
	if err := on.end(told); err != error(told) {
		t.Errorf("error %v, want the signal", err)
	}
	if took := time.Since(begun); took >= lastSpans {
		t.Errorf("ended after %v, want at once", took)
	}
	if err := on.end(nil); err != nil { // which the collector keeps waiting
		t.Errorf("error %v, want none: the program has not failed", err)
	}
	if took := time.Since(begun); took < lastSpans || took > lastSpans+5*time.Second {
		t.Errorf("ended after %v, want %v", took, lastSpans)
	}
}
