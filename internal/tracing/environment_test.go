package tracing

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// setenv makes the environment's OTEL_ variables those that are given.
func setenv(t *testing.T, env map[string]string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
}

func TestEnvironmentSaysWhetherThereAreTraces(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  map[string]string
		want string // the URL; "": off
	}{
		{"nothing is said", nil, ""},
		{"a service's name alone asks for nothing", map[string]string{"OTEL_SERVICE_NAME": "x"}, ""},
		{"an exporter is chosen", map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"},
		{"an endpoint for all signals", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:1/base/"}, "https://c:1/base/v1/traces"},
		{"an endpoint for traces is taken as it is", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/in"}, "http://c:1/in"},
		{"the endpoint for traces wins", map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": "http://all", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces/x",
		}, "http://traces/x"},
		{"an endpoint, and no traces", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, ""},
		{"the SDK is disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, ""},
		{"the protocol is ours", map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://localhost:4318/v1/traces"},
		{"off, with a protocol that is not ours", map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			setenv(t, tc.env)
			s, err := environment()
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if s != nil {
				got = s.endpoint.String()
			}
			if got != tc.want {
				t.Errorf("traces go to %q, want %q", got, tc.want)
			}
		})
	}
}

func TestEnvironmentThatCannotBeHeeded(t *testing.T) {
	const secret = "canary-5e0d"
	for _, tc := range []struct {
		name, variable, value string
		want                  string // of the error
	}{
		{"an exporter of another kind", "OTEL_TRACES_EXPORTER", "zipkin", `OTEL_TRACES_EXPORTER: "zipkin" is not supported`},
		{"gRPC", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: \"grpc\" is not supported: use http/protobuf"},
		{"gRPC for traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"},
		{"an endpoint without a scheme", "OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "want http:// or https://"},
		{"an endpoint that is no URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:" + secret + "@\x7f", "not a URL"},
		{"a header without a value", "OTEL_EXPORTER_OTLP_HEADERS", "authorization " + secret, "want NAME=VALUE"},
		{"a header's value with a line break", "OTEL_EXPORTER_OTLP_HEADERS", "authorization=" + secret + "%0d%0ax", "the value of authorization"},
		{"a header's value with a broken escape", "OTEL_EXPORTER_OTLP_HEADERS", "authorization=" + secret + "%zz", "the value of authorization"},
		{"a time without end", "OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds above 0"},
		{"a compression of another kind", "OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "use gzip or none"},
		{"a certificate without its key", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "c.pem", "belong together"},
		{"a propagator of another kind", "OTEL_PROPAGATORS", "tracecontext,b3", `"b3" is not supported`},
		{"a queue of less than nothing", "OTEL_BSP_MAX_QUEUE_SIZE", "-1", "want a number from 1"},
		{"a queue for all memory", "OTEL_BSP_MAX_QUEUE_SIZE", "99999999999", "want a number from 1"},
		{"a delay of nothing", "OTEL_BSP_SCHEDULE_DELAY", "0", "milliseconds above 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			setenv(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"})
			t.Setenv(tc.variable, tc.value)
			on, err := New(Options{})
			if on != nil || err == nil {
				t.Fatalf("tracing %v, error %v, want none and an error", on, err)
			}
			if text := err.Error(); !strings.Contains(text, tc.want) || strings.Contains(text, secret) {
				t.Errorf("error %q, want %q in it and no secret", text, tc.want)
			}
		})
	}
}

func TestEnvironmentIsReadWhole(t *testing.T) {
	setenv(t, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":        "https://c",
		"OTEL_EXPORTER_OTLP_HEADERS":         "ignored=1",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS":  "authorization=Bearer%20canary, X-Scope = a%2Cb,",
		"OTEL_EXPORTER_OTLP_TIMEOUT":         "1500",
		"OTEL_EXPORTER_OTLP_COMPRESSION":     "gzip",
		"OTEL_EXPORTER_OTLP_CERTIFICATE":     "ca.pem",
		"OTEL_PROPAGATORS":                   "baggage",
		"OTEL_BSP_MAX_QUEUE_SIZE":            "100",
		"OTEL_BSP_SCHEDULE_DELAY":            "250",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
	})
	s, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Authorization": {"Bearer canary"}, "X-Scope": {"a,b"}}
	if diff := cmp.Diff(want, *s.headers.fields); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", s.headers, *s, s.headers, s.headers); strings.Contains(text, "canary") {
		t.Errorf("the headers print as %s", text)
	}
	if s.timeout != 1500*time.Millisecond || !s.gzip || s.ca != "ca.pem" || s.propagate || s.queue != 100 || s.batch != 100 || s.delay != 250*time.Millisecond {
		t.Errorf("settings %+v", s)
	}
}
