package tracing

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// The variables whose names messages have.
const (
	envExporter    = "OTEL_TRACES_EXPORTER"
	envPropagators = "OTEL_PROPAGATORS"
)

// Where spans go, and for how long one batch is tried, unless said otherwise.
const (
	defaultEndpoint = "http://localhost:4318"
	defaultTimeout  = 10 * time.Second
)

// Bounds of the queue: how many spans it may hold, by default and at most, how
// many go in one batch, and how long they are collected for one.
const (
	defaultQueue = 2048
	maxQueue     = 1 << 16
	defaultBatch = 512
	defaultDelay = 5 * time.Second
)

// settings are what the environment asks for.
type settings struct {
	endpoint  *url.URL
	headers   secretHeader
	timeout   time.Duration // of a batch, with its retries
	gzip      bool
	ca        string // files; "": the system's, and no client certificate
	cert, key string
	propagate bool // the API server gets the trace's context
	queue     int
	batch     int
	delay     time.Duration
}

// secretHeader are header fields with the collector's credential. It prints as
// [redacted]; below another value's unexported field, where fmt asks nobody, as
// an address.
type secretHeader struct{ fields *http.Header }

// Format implements [fmt.Formatter].
func (secretHeader) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// otlp reads a variable of the exporter: the one for traces, else the one for
// all signals.
func otlp(name string) (variable, value string) {
	variable = "OTEL_EXPORTER_OTLP_TRACES_" + name
	if value = os.Getenv(variable); value == "" {
		variable = "OTEL_EXPORTER_OTLP_" + name
		value = os.Getenv(variable)
	}
	return variable, strings.TrimSpace(value)
}

// environment returns nil when nothing asks for traces. An error names the
// variable, and never the value of a header.
func environment() (*settings, error) {
	_, endpoint := otlp("ENDPOINT")
	switch exporter := strings.TrimSpace(os.Getenv(envExporter)); {
	case strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")), "true"),
		exporter == "none",
		exporter == "" && endpoint == "":
		return nil, nil
	case exporter != "" && exporter != "otlp":
		return nil, fmt.Errorf("%s: %q is not supported: use otlp or none", envExporter, exporter)
	}
	var s settings
	return &s, errors.Join(
		s.readProtocol(), s.readEndpoint(), s.readHeaders(), s.readTimeout(),
		s.readCompression(), s.readFiles(), s.readPropagators(), s.readBatching(),
	)
}

func (s *settings) readProtocol() error {
	variable, protocol := otlp("PROTOCOL")
	if protocol != "" && protocol != "http/protobuf" {
		return fmt.Errorf("%s: %q is not supported: use http/protobuf, and the collector's port for that (4318 by default, where gRPC has 4317)", variable, protocol)
	}
	return nil
}

// readEndpoint appends the path of traces to the endpoint for all signals, and
// nothing to the one for traces.
func (s *settings) readEndpoint() error {
	variable, text := otlp("ENDPOINT")
	if text == "" {
		text = defaultEndpoint
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose text has the URL, and that may have a password
		return fmt.Errorf("%s: not a URL: use one such as %s", variable, defaultEndpoint)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("%s: want http:// or https:// and a host, such as %s", variable, defaultEndpoint)
	}
	if !strings.Contains(variable, "_TRACES_") {
		u = u.JoinPath("v1", "traces")
	}
	s.endpoint = u
	return nil
}

// readHeaders reads NAME=VALUE,NAME=VALUE with percent-encoded values.
func (s *settings) readHeaders() error {
	variable, text := otlp("HEADERS")
	header := http.Header{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if !found || !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("%s: want NAME=VALUE, several separated by commas", variable)
		}
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil || !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%s: the value of %s is not percent-encoded text", variable, name)
		}
		header.Set(name, value)
	}
	s.headers = secretHeader{&header}
	return nil
}

func (s *settings) readTimeout() (err error) {
	variable, text := otlp("TIMEOUT")
	s.timeout, err = milliseconds(variable, text, defaultTimeout)
	return err
}

// readBatching is read here because the SDK makes a queue of whatever size the
// environment says, of a negative one too, which panics.
func (s *settings) readBatching() error {
	var errs [3]error
	s.queue, errs[0] = count("OTEL_BSP_MAX_QUEUE_SIZE", defaultQueue)
	s.batch, errs[1] = count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(defaultBatch, s.queue))
	const delay = "OTEL_BSP_SCHEDULE_DELAY"
	s.delay, errs[2] = milliseconds(delay, os.Getenv(delay), defaultDelay)
	s.batch = min(s.batch, s.queue)
	return errors.Join(errs[:]...)
}

func count(variable string, otherwise int) (int, error) {
	text := strings.TrimSpace(os.Getenv(variable))
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxQueue {
		return 0, fmt.Errorf("%s: %q: want a number from 1 to %d", variable, text, maxQueue)
	}
	return n, nil
}

func milliseconds(variable, text string, otherwise time.Duration) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%s: %q: want a number of milliseconds above 0", variable, text)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func (s *settings) readCompression() error {
	switch variable, text := otlp("COMPRESSION"); text {
	case "", "none":
	case "gzip":
		s.gzip = true
	default:
		return fmt.Errorf("%s: %q is not supported: use gzip or none", variable, text)
	}
	return nil
}

func (s *settings) readFiles() error {
	_, s.ca = otlp("CERTIFICATE")
	var certVariable, keyVariable string
	certVariable, s.cert = otlp("CLIENT_CERTIFICATE")
	keyVariable, s.key = otlp("CLIENT_KEY")
	if (s.cert == "") != (s.key == "") {
		return fmt.Errorf("%s and %s belong together: set both or none", certVariable, keyVariable)
	}
	return nil
}

// readPropagators knows tracecontext alone. Baggage is what passes unchanged
// anyway: kuberelay has none to add.
func (s *settings) readPropagators() error {
	text := os.Getenv(envPropagators)
	if strings.TrimSpace(text) == "" {
		s.propagate = true
		return nil
	}
	for name := range strings.SplitSeq(text, ",") {
		switch name = strings.TrimSpace(name); name {
		case "tracecontext":
			s.propagate = true
		case "", "none", "baggage":
		default:
			return fmt.Errorf("%s: %q is not supported: use tracecontext, baggage or none", envPropagators, name)
		}
	}
	return nil
}
