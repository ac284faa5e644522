package auth

import (
	"os"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
)

// daemonExecSource is the plugin of a daemon: it has no terminal, whatever the
// daemon was started from, and standard error goes nowhere.
func daemonExecSource(c *rest.Config) (*source, error) {
	p, err := newExecPlugin(c)
	if err != nil {
		return nil, err
	}
	p.environment = func() []string { return withoutServiceManager(os.Environ()) }
	return p.source(daemonExecTimeout), nil
}

// serviceManager are the variables by which systemd speaks to the daemon
// itself, see systemd.exec(5) and sd_notify(3): a plugin that took them for its
// own would report readiness, use our sockets or read our secrets.
var serviceManager = []string{"CREDENTIALS_DIRECTORY=", "NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_"}

// withoutServiceManager returns environ without those.
func withoutServiceManager(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		return slices.ContainsFunc(serviceManager, func(prefix string) bool { return strings.HasPrefix(variable, prefix) })
	})
}
