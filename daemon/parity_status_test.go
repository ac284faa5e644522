package daemon_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// wantStatus checks that an answer of kuberelay's own is a Kubernetes Status.
func wantStatus(t testing.TB, got wireReply, code int, reason metav1.StatusReason) metav1.Status {
	t.Helper()
	var s metav1.Status
	if err := json.Unmarshal([]byte(got.Body), &s); err != nil {
		t.Fatalf("answer %d %q is no Status: %v", got.Code, got.Body, err)
	}
	if got.Code != code || s.Kind != "Status" || s.APIVersion != "v1" || s.Status != "Failure" || int(s.Code) != code ||
		s.Reason != reason || s.Message == "" || s.Details == nil || len(s.Details.Causes) == 0 || s.Details.Causes[0].Type == "" {
		t.Fatalf("answer %d %q, want a Status with %d %s and causes", got.Code, got.Body, code, reason)
	}
	if got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Audit-Id") == "" {
		t.Errorf("header %v, want application/json and an Audit-Id", got.Header)
	}
	return s
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestParityOwnAnswers holds the shape of what kuberelay says in the API
// server's place, and that Retry-After stands only where nothing was processed.
func TestParityOwnAnswers(t *testing.T) {
	t.Parallel()
	quick := func(cfg *config.Configuration) {
		cfg.Clusters[0].Balancer.Retry.HoldWhenAllDown = 10 * time.Millisecond
	}
	up, down := parity(t, quick), parity(t, quick)
	up.all("POST /api/v1/lost", fakeapi.RST())
	down.Servers[0].Down()
	for _, c := range []struct {
		relay      *relay
		request    string
		code       int
		reason     metav1.StatusReason
		cause      metav1.CauseType
		retryAfter string
	}{
		{up, "TRACE /api HTTP/1.1\nHost: localhost", 405, metav1.StatusReasonMethodNotAllowed, "Method", ""},
		{up, "GET * HTTP/1.1\nHost: localhost", 400, metav1.StatusReasonBadRequest, "BadRequest", ""},
		{up, "GET /api HTTP/1.1\nHost: localhost\nOrigin: null", 403, metav1.StatusReasonForbidden, "CrossSite", ""},
		{up, "GET " + portForward + " HTTP/1.1\nHost: localhost\nContent-Length: 1" + websocket, 400, metav1.StatusReasonBadRequest, "BadRequest", ""},
		{up, "POST /api/v1/lost HTTP/1.1\nHost: localhost\nContent-Length: 0", 502, metav1.StatusReasonInternalError, "UpstreamLost", ""},
		{down, "GET /api HTTP/1.1\nHost: localhost", 503, metav1.StatusReasonServiceUnavailable, "NoUpstream", "1"},
		{down, "POST /api HTTP/1.1\nHost: localhost\nContent-Length: 0", 503, metav1.StatusReasonServiceUnavailable, "NoUpstream", "1"},
		{down, "GET " + portForward + " HTTP/1.1\nHost: localhost" + spdy, 503, metav1.StatusReasonServiceUnavailable, "NoUpstream", "1"},
	} {
		got := c.relay.ask(t, c.request+"\nAudit-Id: mine")
		status := wantStatus(t, got, c.code, c.reason)
		if status.Details.Causes[0].Type != c.cause || got.Header.Get("Retry-After") != c.retryAfter ||
			(c.retryAfter != "") != (status.Details.RetryAfterSeconds > 0) {
			t.Errorf("%.40q: %v %s, want cause %s and Retry-After %q", c.request, got.Header, got.Body, c.cause, c.retryAfter)
		}
		if id := got.Header.Get("Audit-Id"); id != "mine" {
			t.Errorf("%.40q: Audit-Id %q, want the client's", c.request, id)
		}
		// HEAD has the same head without the body.
		if method, rest, _ := strings.Cut(c.request, " "); method == "GET" && !strings.Contains(c.request, "Content-Length") {
			if head := c.relay.ask(t, "HEAD "+rest); head.Code != c.code || head.Body != "" || head.Header.Get("Content-Type") != "application/json" {
				t.Errorf("HEAD %.40q: %d %v %q", rest, head.Code, head.Header, head.Body)
			}
		}
	}
}

// TestParityAuditID is one over all attempts of a request, and the client's
// own where it has one.
func TestParityAuditID(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]http.Handler{
		"reset": fakeapi.RST(), "shutting down": fakeapi.ShuttingDown429(), "overloaded": fakeapi.Text(503, "overloaded"),
	} {
		for _, own := range []string{"", "3f7f6a4e-client"} {
			r := start(t, servers(t, 2))
			bound := r.bound()
			r.Servers[bound].Handle("GET /api/v1/nodes/x", fault)
			r.Servers[1-bound].Handle("GET /api/v1/nodes/x", fakeapi.Text(200, "fine"))
			if got := r.ask(t, "GET /api/v1/nodes/x HTTP/1.1\nHost: localhost\n"+markHeader+": x\nAudit-Id: "+own); got.Code != 200 {
				t.Fatalf("%s: answer %d %q", name, got.Code, got.Body)
			}
			all := r.seen("x")
			if len(all) != 2 {
				t.Fatalf("%s: %d attempts, want 2", name, len(all))
			}
			a, b := all[0].Header.Values("Audit-Id"), all[1].Header.Values("Audit-Id")
			if len(a) != 1 || len(b) != 1 || a[0] != b[0] || a[0] == "" || own != "" && a[0] != own {
				t.Errorf("%s: the attempts carry %q and %q, want one ID", name, a, b)
			}
		}
	}
}
