package lab

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The broker may act as others and do nothing itself; the log says both names.
func TestAuditLogTellsWhoAskedAsWhom(t *testing.T) {
	ctx := testContext(t)
	token, err := shared.CreateBroker(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.BindGroup(ctx, "lab-readers", "system:aggregate-to-view"); err != nil {
		t.Fatal(err)
	}
	tail, err := shared.TailAudit()
	if err != nil {
		t.Fatal(err)
	}
	config := shared.TLSConfig()
	config.Certificates = nil
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	ask := func(s *Server, auditID, user string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/api/v1/namespaces/default/pods", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Audit-Id", auditID)
		if user != "" {
			req.Header.Set("Impersonate-User", user)
			req.Header.Set("Impersonate-Group", "lab-readers")
		}
		return exchange(client, req, nil)
	}
	s := shared.Servers[1]
	// The role reaches the servers a moment after its creation.
	eventually(t, func() error { return ask(s, "as-dora", "dora") })
	if err := ask(s, "as-itself", ""); err == nil {
		t.Error("the broker may list pods itself")
	}
	seen := map[string]AuditEvent{}
	eventually(t, func() error {
		events, err := tail.Next()
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Stage == "ResponseComplete" {
				seen[e.AuditID] = e // the last attempt's
			}
		}
		if len(seen["as-itself"].User.Username) == 0 || seen["as-dora"].ResponseStatus.Code != http.StatusOK {
			return fmt.Errorf("seen %+v", seen)
		}
		return nil
	})
	if e := seen["as-itself"]; e.User.Username != BrokerUser || e.ImpersonatedUser != nil || e.ResponseStatus.Code != http.StatusForbidden || e.File != s.AuditLogFile() {
		t.Errorf("of the broker's own request: %+v", e)
	}
	if e := seen["as-dora"]; e.User.Username != BrokerUser || e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != "dora" || !slices.Contains(e.ImpersonatedUser.Groups, "lab-readers") || e.Verb != "list" || e.ObjectRef.Resource != "pods" {
		t.Errorf("of the request as dora: %+v", e)
	}
}

func TestAuditTailWaitsForWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write := func(text string) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	next := func(tail *AuditTail) (ids []string) {
		events, err := tail.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			ids = append(ids, e.AuditID)
		}
		return ids
	}
	early, err := TailAuditFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := next(early); got != nil {
		t.Errorf("of no file: %v", got)
	}
	write("{\"auditID\":\"a\"}\n{\"audit")
	late, err := TailAuditFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := next(early); !slices.Equal(got, []string{"a"}) {
		t.Errorf("of a line and a half: %v, want a", got)
	}
	write("ID\":\"b\"}\n")
	if got := next(early); !slices.Equal(got, []string{"b"}) {
		t.Errorf("of the other half: %v, want b", got)
	}
	if _, err := late.Next(); err == nil {
		t.Error("half a line passes for an event")
	}
}
