package e2e

import (
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/test/lab"
)

// records are the audit logs of kuberelay and of the API servers, from the
// moment of their making on.
type records struct {
	t            *testing.T
	ours, theirs *lab.AuditTail
	ownEvents    []lab.AuditEvent
	serverEvents map[string]lab.AuditEvent // the latest, by audit ID
}

func (s *served) record() *records {
	s.t.Helper()
	r := &records{t: s.t.(*testing.T), serverEvents: map[string]lab.AuditEvent{}}
	var err error
	r.ours, err = lab.TailAuditFiles(s.auditFile())
	check(r.t, err)
	r.theirs, err = cluster.TailAudit()
	check(r.t, err)
	return r
}

func (r *records) read() {
	r.t.Helper()
	events, err := r.ours.Next()
	check(r.t, err)
	r.ownEvents = append(r.ownEvents, events...)
	events, err = r.theirs.Next()
	check(r.t, err)
	for _, e := range events {
		r.serverEvents[e.AuditID] = e
	}
}

// await reads both logs until ok.
func (r *records) await(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(20 * time.Second); ; <-tick.C {
		if r.read(); ok() {
			return
		}
		if time.Now().After(limit) {
			r.t.Fatalf("%s is not on record within 20 s; of kuberelay's own: %+v", what, r.ownEvents)
		}
	}
}

// server is what an API server has on record of a request.
func (r *records) server(auditID string) lab.AuditEvent {
	r.t.Helper()
	r.await("request "+auditID+" at an API server", func() bool { return r.serverEvents[auditID].AuditID != "" })
	return r.serverEvents[auditID]
}

// own is what kuberelay has on record of a request's end.
func (r *records) own(auditID string) (event lab.AuditEvent) {
	r.t.Helper()
	r.await("the end of request "+auditID, func() bool {
		event = r.find(func(e lab.AuditEvent) bool { return e.AuditID == auditID })
		return event.AuditID != ""
	})
	return event
}

// find returns the first of kuberelay's events of a request's end for which
// match is true.
func (r *records) find(match func(lab.AuditEvent) bool) lab.AuditEvent {
	for _, e := range r.ownEvents {
		if e.Stage == "ResponseComplete" && match(e) {
			return e
		}
	}
	return lab.AuditEvent{}
}

// settle returns when the API servers have on record what they were asked until
// now.
func (r *records) settle() {
	r.t.Helper()
	direct := &http.Client{Transport: &http.Transport{TLSClientConfig: cluster.TLSConfig(), DisableKeepAlives: true}}
	for _, s := range cluster.Servers {
		id := "settle-" + rand.Text()
		req, err := http.NewRequest(http.MethodGet, s.URL()+"/version", nil)
		check(r.t, err)
		req.Header.Set("Audit-Id", id)
		resp, err := direct.Do(req)
		check(r.t, err)
		resp.Body.Close()
		r.server(id)
	}
}
