package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// noon is the time of the control sockets in tests.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// controlled is a running control socket, and what was done through it.
type controlled struct {
	socket string
	done   chan string // operations, as text
	log    *observer.ObservedLogs
	http   *http.Client
}

func newControlled(t *testing.T, change func(*ControlOptions)) *controlled {
	t.Helper()
	core, log := observer.New(zapcore.InfoLevel)
	c := &controlled{socket: filepath.Join(t.TempDir(), "s"), done: make(chan string, 10), log: log}
	o := ControlOptions{
		Options: Options{
			Status:   func() Status { return Status{Version: "v1.2.3"} },
			Ready:    func() error { return nil },
			Registry: filled().Registry(),
			Log:      zap.New(core),
		},
		Operations: Operations{
			Reload: func(context.Context, bool) ([]string, error) {
				c.done <- "reload"
				return []string{"client bob added"}, nil
			},
			Drain: func(cluster, upstream string, on bool) error {
				c.done <- fmt.Sprintf("drain %s %s %v", cluster, upstream, on)
				return nil
			},
			Revoke: func(client string, until time.Time, reason string) (int, error) {
				c.done <- fmt.Sprintf("revoke %s until %v because %q", client, until.Format(time.RFC3339), reason)
				return 3, nil
			},
			Unrevoke: func(client string) error { c.done <- "unrevoke " + client; return nil },
			LogLevel: func(level string) error { c.done <- "level " + level; return nil },
		},
		PeerUID: func(net.Conn) (uint32, bool) { return 1001, true },
	}
	if change != nil {
		change(&o)
	}
	control, err := NewControl(o)
	if err != nil {
		t.Fatal(err)
	}
	control.now = func() time.Time { return noon }
	l, err := net.Listen("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- control.Serve(l) }()
	transport := NewClient(c.socket).http.Transport.(*http.Transport)
	c.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := control.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v, want nil after Shutdown", err)
		}
	})
	return c
}

func (c *controlled) ask(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	response, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(read)
}

func TestOperations(t *testing.T) {
	c := newControlled(t, nil)
	for _, tc := range []struct {
		name, method, path, body string
		done, answer, log        string
	}{
		{"reload without a body", "POST", "/control/v1/reload", "", "reload", `{"changed":["client bob added"]}`, "changed:[client bob added] operation:reload uid:1001"},
		{"reload", "POST", "/control/v1/reload", "{}", "reload", `{"changed":["client bob added"]}`, "changed:[client bob added] operation:reload uid:1001"},
		{"drain", "POST", "/control/v1/drain", `{"cluster":"prod","upstream":"a:6443"}`, "drain prod a:6443 true", `{"cluster":"prod","upstream":"a:6443","draining":true}`, "cluster:prod operation:drain uid:1001 upstream:a:6443"},
		{"undrain", "POST", "/control/v1/undrain", `{"cluster":"prod","upstream":"a:6443"}`, "drain prod a:6443 false", `{"cluster":"prod","upstream":"a:6443","draining":false}`, "cluster:prod operation:undrain uid:1001 upstream:a:6443"},
		{"revoke until it is lifted", "POST", "/control/v1/revoke", `{"client":"alice"}`, `revoke alice until 0001-01-01T00:00:00Z because ""`, `{"client":"alice","cut":3}`, "client:alice cut:3 for: operation:revoke reason: uid:1001"},
		{"revoke for a day", "POST", "/control/v1/revoke", `{"client":"alice","for":"24h","reason":"laptop stolen"}`, `revoke alice until 2026-01-03T12:00:00Z because "laptop stolen"`, `{"client":"alice","cut":3,"until":"2026-01-03T12:00:00Z"}`, "client:alice cut:3 for:24h operation:revoke reason:laptop stolen uid:1001"},
		{"unrevoke", "POST", "/control/v1/unrevoke", `{"client":"alice"}`, "unrevoke alice", `{"client":"alice"}`, "client:alice operation:unrevoke uid:1001"},
		{"log level", "PUT", "/control/v1/log-level", ` {"level":"debug"} `, "level debug", `{"level":"debug"}`, "level:debug operation:log-level uid:1001"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, body := c.ask(t, tc.method, tc.path, tc.body)
			if code != 200 || body != tc.answer+"\n" {
				t.Fatalf("%d %s, want 200 %s", code, body, tc.answer)
			}
			if got := <-c.done; got != tc.done {
				t.Errorf("did %q, want %q", got, tc.done)
			}
			lines := c.log.TakeAll()
			last := lines[len(lines)-1] // before the level, its change is logged, too
			if got := fmt.Sprintf("%s %v", last.Message, last.ContextMap()); got != "operator's request map["+tc.log+"]" {
				t.Errorf("log %q, want %q", got, tc.log)
			}
		})
	}
}

func TestOperationsRefuse(t *testing.T) {
	c := newControlled(t, func(o *ControlOptions) { o.Operations.Unrevoke = nil })
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		code                     int
		cause, message           string
	}{
		{"reading an operation", "GET", "/control/v1/reload", "", nil, 405, "Method", "only POST is served here"},
		{"POST to what is PUT", "POST", "/control/v1/log-level", "", nil, 405, "Method", "only PUT is served here"},
		{"POST to a page", "POST", "/api/v1/status", "", nil, 405, "Method", "only GET and HEAD"},
		{"POST to a profile", "POST", "/debug/pprof/symbol", "", nil, 405, "Method", "only GET and HEAD"},
		{"an operation that is none", "GET", "/control/v1/stop", "", nil, 404, "Path", "no such page"},
		{"one that this process cannot do", "POST", "/control/v1/unrevoke", `{"client":"a"}`, nil, 501, "Operation", "kuberelay serve"},
		{"a host name", "POST", "/control/v1/reload", "", []string{"Host", "relay.example.org"}, 421, "Host", "localhost"},
		{"another site", "POST", "/control/v1/reload", "", []string{"Origin", "http://evil.example.org"}, 403, "CrossSite", "another site"},
		{"an unknown field", "POST", "/control/v1/revoke", `{"client":"a","force":true}`, nil, 400, "Body", `unknown field "force"`},
		{"a wrong type", "POST", "/control/v1/revoke", `{"client":7}`, nil, 400, "Body", "not as documented"},
		{"two objects", "POST", "/control/v1/revoke", `{"client":"a"}{}`, nil, 400, "Body", "more than one"},
		{"half an object", "POST", "/control/v1/revoke", `{"client":`, nil, 400, "Body", "not as documented"},
		{"too much", "POST", "/control/v1/revoke", `{"reason":"` + strings.Repeat("x", maxBody) + `"}`, nil, 413, "Body", "larger than 65536 bytes"},
		{"no client", "POST", "/control/v1/revoke", "{}", nil, 422, "Invalid", "client is required"},
		{"no time", "POST", "/control/v1/revoke", `{"client":"a","for":"0s"}`, nil, 422, "Invalid", "want a duration"},
		{"days", "POST", "/control/v1/revoke", `{"client":"a","for":"1d"}`, nil, 422, "Invalid", "want a duration"},
		{"a reason of two lines", "POST", "/control/v1/revoke", `{"client":"a","reason":"x\ny"}`, nil, 422, "Invalid", "printable"},
		{"a long reason", "POST", "/control/v1/revoke", `{"client":"a","reason":"` + strings.Repeat("x", 257) + `"}`, nil, 422, "Invalid", "at most 256 bytes"},
		{"no upstream", "POST", "/control/v1/drain", `{"cluster":"prod"}`, nil, 422, "Invalid", "upstream are required"},
		{"a profile of an hour", "GET", "/debug/pprof/profile?seconds=3600", "", nil, 400, "Seconds", "at most 60"},
		{"a heap profile of an hour", "GET", "/debug/pprof/heap?seconds=61", "", nil, 400, "Seconds", "at most 60"},
		{"a trace of no time", "GET", "/debug/pprof/trace?seconds=NaN", "", nil, 400, "Seconds", "at most 60"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, body := c.ask(t, tc.method, tc.path, tc.body, tc.header...)
			var s metav1.Status
			if err := json.Unmarshal([]byte(body), &s); err != nil {
				t.Fatalf("%d %q: no Status: %v", code, body, err)
			}
			if code != tc.code || int(s.Code) != code || string(s.Details.Causes[0].Type) != tc.cause || !strings.Contains(s.Message, tc.message) {
				t.Errorf("%d %s, want %d because of %s with %q", code, body, tc.code, tc.cause, tc.message)
			}
		})
	}
	select {
	case did := <-c.done:
		t.Errorf("%s was done", did)
	default:
	}
}

func TestOperationsThatFail(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		code int
		want []string // problems
	}{
		{"a name that is not there", fmt.Errorf("drain: %w", &NotFoundError{Kind: "upstream", Name: "x", In: "cluster prod", Have: []string{"a", "b"}}), 404, []string{`drain: there is no upstream "x" in cluster prod; there is a, b`}},
		{"what cannot be", &InvalidError{errors.Join(errors.New("one"), errors.New("two"))}, 422, []string{"one", "two"}},
		{"what went wrong", errors.New("state file: no space left on device"), 500, []string{"state file: no space left on device"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newControlled(t, func(o *ControlOptions) {
				o.Operations.Drain = func(string, string, bool) error { return tc.err }
			})
			client := NewClient(c.socket)
			defer client.Close()
			err := client.Drain(t.Context(), "prod", "x")
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || refused.Code != tc.code || cmp.Diff(tc.want, refused.Problems) != "" {
				t.Errorf("%#v, want %d %q", err, tc.code, tc.want)
			}
			if lines := c.log.FilterMessage("operator's request").All(); len(lines) != 1 || lines[0].ContextMap()["error"] != tc.err.Error() {
				t.Errorf("log %v, want one line with the error", lines)
			}
		})
	}
}

func TestTheControlSocketServesThePages(t *testing.T) {
	c := newControlled(t, nil)
	for path, want := range map[string]string{
		"/":                              "/control/v1/",
		"/healthz":                       "ok\n",
		"/readyz":                        "ok\n",
		"/metrics":                       "kuberelay_build_info{",
		"/api/v1/status":                 `"version": "v1.2.3"`,
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/cmdline":           ".test",
		"/debug/pprof/goroutine?debug=1": "goroutine profile:",
	} {
		if code, body := c.ask(t, "GET", path, ""); code != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.100q, want 200 with %q", path, code, body, want)
		}
	}
}

func TestWhoAskedIsUnknownWithoutAWayToKnow(t *testing.T) {
	c := newControlled(t, func(o *ControlOptions) { o.PeerUID = nil })
	c.ask(t, "POST", "/control/v1/reload", "")
	if lines := c.log.All(); len(lines) != 1 || lines[0].ContextMap()["uid"] != "unknown" {
		t.Errorf("log %v, want one line with an unknown uid", lines)
	}
}

func TestNewControlRefusesWhatItCannotShow(t *testing.T) {
	if _, err := NewControl(ControlOptions{}); err == nil || !strings.Contains(err.Error(), "Status, Ready and Registry") {
		t.Errorf("error %v, want what is required", err)
	}
}

func TestServeSaysWhatBroke(t *testing.T) {
	o := ControlOptions{Options: newServer(t, nil).options}
	control, err := NewControl(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := control.Serve(l); err == nil || !strings.Contains(err.Error(), "control socket "+l.Addr().String()) {
		t.Errorf("error %v, want it to name the socket", err)
	}
}

func TestShutdownCutsAnOperationThatTakesTooLong(t *testing.T) {
	entered := make(chan struct{})
	o := ControlOptions{Options: newServer(t, nil).options, Operations: Operations{
		Reload: func(ctx context.Context, _ bool) ([]string, error) {
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}}
	control, err := NewControl(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served, asked := make(chan error, 1), make(chan error, 1)
	go func() { served <- control.Serve(l) }()
	client := NewClient(l.Addr().String())
	defer client.Close()
	go func() { _, err := client.Reload(context.Background(), false); asked <- err }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := control.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want the context's error", err)
	}
	if err := <-asked; err == nil {
		t.Error("the reload was answered")
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// Whatever an operator sends is decoded as documented, or refused without
// anything being done.
func FuzzOperation(f *testing.F) {
	for _, body := range []string{"", "{}", `{"client":"a"}`, `{"client":"a","for":"1h","reason":"r"}`, `{"client":"a"}{}`, `{"Client":"a"}`, "null", "[]", `{"for":"-1h","client":"a"}`} {
		f.Add(body)
	}
	var revoked string
	o := ControlOptions{
		Options: Options{Status: func() Status { return Status{} }, Ready: func() error { return nil }, Registry: NewMetrics(Build{}).Registry()},
		Operations: Operations{Revoke: func(client string, until time.Time, reason string) (int, error) {
			revoked = client
			if client == "" || len(reason) > maxReason || !until.IsZero() && !until.After(noon) {
				return 0, fmt.Errorf("called with %q, %v, %q", client, until, reason)
			}
			return 0, nil
		}},
	}
	control, err := NewControl(o)
	if err != nil {
		f.Fatal(err)
	}
	control.now = func() time.Time { return noon }
	f.Fuzz(func(t *testing.T, body string) {
		revoked = ""
		w := askHandler(control.http.Handler, "POST", "/control/v1/revoke", body)
		if w.Code == 200 != (revoked != "") || w.Code >= 500 {
			t.Errorf("%q: %d %s, and %q was revoked", body, w.Code, w.Body, revoked)
		}
	})
}
