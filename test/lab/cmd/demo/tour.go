package main

import (
	"context"

	"github.com/kuberelay/kuberelay/test/lab/internal/control"
)

// tour prints what to try and waits for ctx's end. Meanwhile the lab takes
// commands from other terminals.
func (d *demo) tour(ctx context.Context) error {
	command := control.Command(d.dir)
	kubectl := d.lab.Paths.Kubectl + " -s " + d.relay.url
	d.printf("\nkuberelay serves the lab's cluster on %s\n\n", d.relay.url)
	control.StatusOf(d.lab).Print(d.out)
	d.printf(`
Try in another terminal, in the root of the source tree:

  curl %[1]s/version
  curl %[1]s/api/v1/pods
  curl %[1]s/apis/apps/v1/deployments
  %[2]s get pods -w
  %[2]s exec %[3]s -- uname -a
  %[2]s logs -f %[3]s        # %[4]s log hello adds a line

What kuberelay thinks of its servers:

  curl %[5]s/api/v1/status
  curl %[5]s/metrics

Harm a server meanwhile, by its number in the list above:

  %[4]s kill 0               # or: kill -9 PID
  %[4]s start 0
  %[4]s stop 1               # SIGSTOP; cont 1 lets it go on
  %[4]s blackhole 2          # its packets vanish; heal 2 ends that
  %[4]s status

Ctrl-C ends it all.
`, d.relay.url, kubectl, demoPod, command, d.relay.admin)
	return control.Serve(ctx, d.lab, nil)
}
