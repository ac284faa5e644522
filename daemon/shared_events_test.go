package daemon_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
)

// event is a line of the audit log.
type event struct {
	AuditID, Stage, RequestURI, Verb string
	User                             struct{ Username string }
	ImpersonatedUser                 *struct {
		Username string
		Groups   []string
	}
	ResponseStatus *struct {
		Code    int
		Message string
	}
	Annotations map[string]string
}

// events are those of the audit log so far, of one request if an ID is given.
func (r *team) events(id string) []event {
	r.t.Helper()
	raw, err := os.ReadFile(r.path("audit"))
	if err != nil {
		r.t.Fatal(err)
	}
	var all []event
	for line := range strings.Lines(string(raw)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Fatalf("audit line %q: %v", line, err)
		}
		if id == "" || e.AuditID == id {
			all = append(all, e)
		}
	}
	return all
}

// awaitEvent waits for the event of a request at a stage.
func (r *team) awaitEvent(stage string, is func(event) bool) event {
	r.t.Helper()
	var found event
	r.await(fmt.Sprintf("an audit event %s", stage), func() bool {
		for _, e := range r.events("") {
			if e.Stage == stage && is(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// awaitCut waits for the events that say how many streams of each client were
// ended, and wants no other one to be ended from outside.
func (r *team) awaitCut(reason string, want map[string]int) {
	r.t.Helper()
	var got map[string]int
	r.await(fmt.Sprintf("%v streams ended as %s", want, reason), func() bool {
		got = map[string]int{}
		for _, e := range r.events("") {
			if e.Stage == "ResponseComplete" && e.Annotations["kuberelay/close-reason"] == reason {
				got[e.User.Username]++
			}
		}
		for client, n := range want {
			if got[client] < n {
				return false
			}
		}
		return true
	})
	if !maps.Equal(got, want) {
		r.t.Errorf("ended as %s: %v, want %v", reason, got, want)
	}
}
