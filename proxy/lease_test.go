package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/auth/identify"
)

// vanishing are credentials that can be had a number of times. What is said of
// them then is for the log alone.
type vanishing struct{ left atomic.Int64 }

const pluginPath = "/opt/plugins/short.sh"

func (v *vanishing) Lease(context.Context) (*auth.Lease, error) {
	if v.left.Add(-1) < 0 {
		return nil, &auth.UnavailableError{Name: "short", Err: errors.New("exec plugin " + pluginPath + ": exit code 3")}
	}
	return &emptyLease, nil
}

func (v *vanishing) Refused(ctx context.Context, _ *auth.Lease) (*auth.Lease, error) {
	return v.Lease(ctx)
}

// TestCredentialThatIsGoneAtTheAttempt is one that could be had when the request
// came, and cannot when it is sent: after a slow upload, or a hold. The client
// learns the credential's name, at once, and the audit log what the client does.
func TestCredentialThatIsGoneAtTheAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		leases  int64
		path    string
		upgrade bool
		code    int
		reason  metav1.StatusReason
		cause   metav1.CauseType
		refused Refused
	}{
		"a request":                             {leases: 1, path: "/version", code: 503, reason: "ServiceUnavailable", cause: "Credential", refused: RefusedCredential},
		"an upgrade":                            {leases: 1, path: "/api/v1/namespaces/x/pods/p/exec", upgrade: true, code: 503, reason: "ServiceUnavailable", cause: "Credential", refused: RefusedCredential},
		"a request whose first answer was lost": {leases: 2, path: "/version", code: 502, reason: "InternalError", cause: "UpstreamLost"},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				now      atomic.Pointer[Access]
				recorder noted
				with     vanishing
				noHold   atomic.Int64
			)
			with.left.Store(c.leases)
			file := filepath.Join(t.TempDir(), "audit")
			log, err := audit.Open(audit.Config{File: file}, audit.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			cluster := clusterAt(t, readHead) // and breaks off then
			cluster.Hooks.NoUpstream = func() { noHold.Add(1) }
			now.Store(accessFor(t, &with, func(a *Access, g *Grant) { g.Cluster, a.Audit = cluster, log }))
			h := NewHandler(Options{Listener: "shared", Registry: &Registry{}, Recorder: &recorder, Shared: &SharedOptions{
				Access: &now, Cluster: "test", Hosts: []string{"localhost"},
				Peer: func(*http.Request) *identify.Peer { return &identify.Peer{Loopback: true} },
			}})
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, nil)
			r.Host = "localhost"
			r.Header.Set("Authorization", "Bearer "+gateToken)
			if c.upgrade {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)

			var status metav1.Status
			if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
				t.Fatalf("answer %d %s: %v", w.Code, w.Body, err)
			}
			if w.Code != c.code || status.Reason != c.reason || status.Details.Causes[0].Type != c.cause || !strings.Contains(status.Message, `"withheld"`) {
				t.Errorf("answer %d %s", w.Code, w.Body)
			}
			if retry := w.Header().Get("Retry-After"); (retry != "") != (c.code == 503) {
				t.Errorf("answer %d with Retry-After %q", w.Code, retry)
			}
			if c.code == 503 && noHold.Load() != 0 {
				t.Error("the request was held: no upstream can be called without the credential")
			}
			if len(recorder.records) != 1 || recorder.records[0].Refused != c.refused || recorder.records[0].Err == nil || !strings.Contains(recorder.records[0].Err.Error(), pluginPath) {
				t.Errorf("recorded %+v", recorder.records)
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(w.Body.String(), pluginPath) || strings.Contains(string(raw), pluginPath) {
				t.Errorf("the plugin's path is shown in the answer %s, or the event %s", w.Body, raw)
			}
			lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
			var e struct {
				ResponseStatus metav1.Status
				Annotations    map[string]string
			}
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil {
				t.Fatal(err)
			}
			want := metav1.Status{Status: metav1.StatusFailure, Code: int32(c.code), Reason: c.reason, Message: status.Message}
			if diff := cmp.Diff(want, e.ResponseStatus); diff != "" || e.Annotations["kuberelay/cause"] != string(c.cause) {
				t.Errorf("event %s: -want +got:\n%s", lines[len(lines)-1], diff)
			}
		})
	}
}

// readHead reads a request's head.
func readHead(conn net.Conn) {
	in := bufio.NewReader(conn)
	for line, err := "", error(nil); err == nil && line != "\r\n"; {
		line, err = in.ReadString('\n')
	}
}

// renewed are credentials that can be had anew; refused is called then.
type renewed struct {
	anonymous
	refused func()
}

func (r *renewed) Refused(context.Context, *auth.Lease) (*auth.Lease, error) {
	r.refused()
	return new(auth.Lease), nil
}

// TestErrorOfAnAttemptIsForgottenAfterTheNext has the answer of a first attempt
// lost, the second one refused, and no server left when the credential was
// renewed: why the first one failed is not why there is no answer.
func TestErrorOfAnAttemptIsForgottenAfterTheNext(t *testing.T) {
	var now atomic.Pointer[Access]
	var recorder noted
	attempts := 0
	cluster := clusterAt(t, func(conn net.Conn) {
		readHead(conn)
		if attempts++; attempts > 1 {
			_, _ = conn.Write([]byte("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"))
		}
	})
	cluster.Retry.HoldWhenAllDown = 500 * time.Millisecond
	with := &renewed{refused: func() { cluster.Pool.Set(nil) }}
	now.Store(accessFor(t, with, func(_ *Access, g *Grant) { g.Cluster = cluster }))
	h := NewHandler(Options{Listener: "shared", Registry: &Registry{}, Recorder: &recorder, Shared: &SharedOptions{
		Access: &now, Cluster: "test", Hosts: []string{"localhost"},
		Peer: func(*http.Request) *identify.Peer { return &identify.Peer{Loopback: true} },
	}})
	if w := requestAt(t, h, gateToken); w.Code != 502 {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	if len(recorder.records) != 1 || recorder.records[0].Attempts != 2 || !errors.Is(recorder.records[0].Err, errNoUpstream) {
		t.Errorf("recorded %+v", recorder.records)
	}
}
