package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

var (
	received = time.Date(2026, 5, 4, 3, 2, 1, 123456789, time.FixedZone("", 2*60*60))
	finished = received.Add(1500 * time.Microsecond)
)

// fullEvent has every field.
func fullEvent() *Event {
	return &Event{
		Stage:      StageResponseComplete,
		AuditID:    "0b3bb1f1-6c3b-4b0e-9d4e-0c1c5ad0cb3f",
		RequestURI: "/api/v1/namespaces/team-a/pods/web-0?fieldManager=kubectl&dryRun=All",
		Verb:       "update",
		User:       User{Username: "alice", UID: "1001", Groups: []string{"staff"}, Extra: map[string][]string{"device": {"laptop"}}},
		Impersonated: &User{
			Username: "alice@example.org", UID: "u-1", Groups: []string{"dev", "ops"},
			Extra: map[string][]string{"scopes": {"b", "a"}, "account": {"7"}},
		},
		SourceIP:        "127.0.0.1",
		UserAgent:       "kubectl/v1.37.2 (linux/amd64)",
		Object:          &ObjectRef{Resource: "pods", Namespace: "team-a", Name: "web-0", Subresource: "status", APIGroup: "apps", APIVersion: "v1"},
		Code:            403,
		Reason:          "Forbidden",
		Message:         `policy "read-only" does not allow update`,
		RequestReceived: received,
		Timestamp:       finished,
		Annotations:     []Annotation{{"kuberelay/client", "alice"}, {"kuberelay/close-reason", ""}, {"kuberelay/cluster", "prod"}},
	}
}

// typicalEvent is what a watch with the usual parameters leaves.
func typicalEvent() *Event {
	e := fullEvent()
	e.RequestURI = "/api/v1/namespaces/team-a/pods?allowWatchBookmarks=true&labelSelector=app%3Dweb&resourceVersion=12345&timeoutSeconds=412&watch=true"
	e.User = User{Username: "alice"}
	e.Impersonated = &User{Username: "alice@example.org", Groups: []string{"dev", "system:authenticated"}}
	e.Code, e.Reason, e.Message = 200, "", ""
	return e
}

// encoded returns e's line without the newline before it.
func encoded(e *Event) []byte {
	var l line
	l.encode(e)
	return l.b[1:]
}

// decode reads one line as strictly as possible.
func decode(t *testing.T, text []byte) auditv1.Event {
	t.Helper()
	text, ended := bytes.CutSuffix(text, []byte("\n"))
	if !ended || bytes.ContainsAny(text, "\r\n") {
		t.Fatalf("%q is not one line", text)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var e auditv1.Event
	if err := d.Decode(&e); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if d.More() {
		t.Fatalf("more than one value in %s", text)
	}
	return e
}

// auditIDs returns the audit IDs of the lines of the files, all of which have
// to be whole.
func auditIDs(t *testing.T, paths ...string) []string {
	t.Helper()
	var ids []string
	for _, path := range paths {
		for text := range strings.Lines(content(t, path)) {
			ids = append(ids, string(decode(t, []byte(text)).AuditID))
		}
	}
	return ids
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// open opens a log in a new directory, which is closed when the test ends.
func open(t *testing.T, o Options) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := Open(Config{File: path}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, path
}

// write writes an event that is known by its ID alone.
func write(l *Log, id string) error {
	return l.Write(&Event{Stage: StageRequestReceived, AuditID: id, RequestURI: "/api", Verb: "get"})
}
