package notify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Manager is the service manager that started this process. A nil Manager is
// none: its methods do nothing.
type Manager struct {
	socket   string
	watchdog time.Duration // zero: it does not watch
}

// Systemd returns the manager of this process; nil if there is none. Under
// systemd, Type=notify or notify-reload sets the variables that announce it.
//
// It is for one call, at the start, from main: it unsets the variables, so that
// no process that this one starts takes itself for the service.
func Systemd() (*Manager, error) {
	socket := os.Getenv("NOTIFY_SOCKET")
	watchdog, watchdogErr := daemon.SdWatchdogEnabled(true)
	if err := os.Unsetenv("NOTIFY_SOCKET"); err != nil {
		return nil, err
	}
	if watchdogErr != nil {
		return nil, fmt.Errorf("the watchdog of the service manager: WATCHDOG_USEC, WATCHDOG_PID: %w", watchdogErr)
	}
	if socket == "" {
		return nil, nil
	}
	return &Manager{socket: socket, watchdog: watchdog}, nil
}

// Ready says that the process serves, also after a reload.
func (m *Manager) Ready() error { return m.send("READY=1") }

// Reloading says that the configuration is read anew; [Manager.Ready] ends it.
func (m *Manager) Reloading() error {
	// With Type=notify-reload, systemd waits for a message that has the time.
	return m.send("RELOADING=1", strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// stopMargin is what the rest of a shutdown takes beside the grace time.
const stopMargin = 5 * time.Second

// Stopping says that the process ends, and may take the grace time for it
// even where the unit's TimeoutStopSec= is shorter.
func (m *Manager) Stopping(grace time.Duration) error {
	return m.send("STOPPING=1", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (grace+stopMargin).Microseconds()))
}

// Status is the sentence that systemctl status shows. Of several lines it
// shows the first.
func (m *Manager) Status(text string) error {
	line, _, _ := strings.Cut(text, "\n")
	return m.send("STATUS=" + line)
}

// send passes one message. A manager that has gone has nobody to tell, which
// is no error.
func (m *Manager) send(lines ...string) error {
	if m == nil {
		return nil
	}
	// A name that begins with @ is an abstract one for package net, too.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || refused(err) {
			return nil
		}
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer func() { _ = c.Close() }() // a datagram is sent or not
	// The socket's queue may be full: what is said then is said again, or late.
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	if _, err := c.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
