package daemon_test

import (
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/audit"
	"github.com/kuberelay/kuberelay/config"
)

// TestTheStatusSaysWhenEventsAreLost, and readiness does not: reading goes on.
func TestTheStatusSaysWhenEventsAreLost(t *testing.T) {
	t.Parallel()
	for _, onFailure := range []string{audit.OnFailureBlock, audit.OnFailureIgnore} {
		t.Run(onFailure, func(t *testing.T) {
			t.Parallel()
			r := startTeam(t, 1, func(_ *team, c *config.Configuration) { c.Audit.OnFailure = onFailure })
			create := "POST " + pods + " HTTP/1.1\nHost: localhost\nContent-Length: 0" + bearer(aliceToken)
			blocks := onFailure == audit.OnFailureBlock
			r.ask(t, create)
			if a := r.Daemon.Status().Audit; a == nil || a.Blocks != blocks || a.Error != "" {
				t.Errorf("audit is %+v while events are written", a)
			}
			if err := r.Daemon.BreakAudit(); err != nil {
				t.Fatal(err)
			}
			r.ask(t, create)
			if a := r.Daemon.Status().Audit; a == nil || a.Blocks != blocks || !strings.Contains(a.Error, "is closed") {
				t.Errorf("audit is %+v after an event was lost", a)
			}
			if err := r.Daemon.Ready(); err != nil {
				t.Errorf("not ready: %v", err)
			}
		})
	}
}

func TestTheStatusOfAuditIsAbsentWithoutALog(t *testing.T) {
	t.Parallel()
	if a := start(t, servers(t, 1)).Daemon.Status().Audit; a != nil {
		t.Errorf("audit is %+v", a)
	}
}
