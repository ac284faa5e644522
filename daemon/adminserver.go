package daemon

import (
	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
)

// watchAdmin reports an admin server that fails while it runs. Nothing else ends:
// requests do not need it, and Prometheus alerts on its silence.
func (d *Daemon) watchAdmin() {
	<-d.admin.Done()
	if err := d.admin.Err(); err != nil {
		d.log.Error("the admin server has failed, requests go on", zap.Error(err))
		d.events.Add(admin.Event{Kind: admin.EventProcess, Text: "the admin server has failed: " + err.Error()})
	}
}
