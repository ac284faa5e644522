package daemon_test

import (
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
