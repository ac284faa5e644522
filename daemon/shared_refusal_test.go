package daemon_test

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
)

// TestSharedCauseOfARefusalIsTheOperators: why an issuer cannot be reached is
// logged, once for many requests and without the token, and is no part of the
// answer.
func TestSharedCauseOfARefusalIsTheOperators(t *testing.T) {
	t.Parallel()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	gone.Close()
	issuer := "https://" + address
	r := startTeam(t, 1, func(_ *team, cfg *config.Configuration) {
		cfg.Listeners[0].Identify = []identify.Method{identify.OIDC}
		alice := clientOf(cfg, "alice")
		alice.Match = append(alice.Match, identify.Match{OIDC: &identify.OIDCMatch{Issuer: issuer, Audience: "kuberelay", Value: "alice"}})
	})
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	token := part(map[string]any{"alg": "RS256"}) + "." + part(map[string]any{"iss": issuer, "sub": "canary-subject"}) + ".c2ln"
	for range 5 {
		got := r.do("GET", pods, "", "Authorization", "Bearer "+token)
		if got.Code != http.StatusUnauthorized || strings.Contains(got.Body, address) || strings.Contains(got.Body, "refused") {
			t.Fatalf("answer %d %s, want 401 without the cause", got.Code, got.Body)
		}
	}
	lines := r.Logs.FilterMessage("clients cannot be identified").All()
	if len(lines) != 1 {
		t.Fatalf("%d lines for five requests, want one: %v", len(lines), lines)
	}
	fields := lines[0].ContextMap()
	cause, _ := fields["error"].(string)
	if fields["listener"] != "proxy" || !strings.Contains(cause, address) || !strings.Contains(cause, "refused") {
		t.Errorf("logged %v, want the listener and why the issuer is away", fields)
	}
	if strings.Contains(cause, "canary-subject") || strings.Contains(cause, token) {
		t.Errorf("the log has what was presented: %v", fields)
	}
}
