package notify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kuberelay/kuberelay/internal/fakemanager"
)

func TestMessages(t *testing.T) {
	socket, next := fakemanager.Listen(t)
	m := &Manager{socket: socket}
	for _, c := range []struct {
		name string
		send func() error
		want string
	}{
		{"ready", m.Ready, "READY=1"},
		{"a reload says when it began", m.Reloading, `RELOADING=1\nMONOTONIC_USEC=[0-9]+`},
		{"stopping has the grace time and some more", func() error { return m.Stopping(10 * time.Second) }, `STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000`},
		{"a status", func() error { return m.Status("3/3 API servers ready") }, "STATUS=3/3 API servers ready"},
		{"a second line cannot be a message of its own", func() error { return m.Status("bad\nMAINPID=1") }, "STATUS=bad"},
	} {
		if err := c.send(); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := next(); !regexp.MustCompile("^(?:" + c.want + ")$").MatchString(got) {
			t.Errorf("%s: %q, want %s", c.name, got, c.want)
		}
	}
}

func TestWithoutAManagerNothingFails(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	left := filepath.Join(t.TempDir(), "left") // by a manager that died
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: left, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for name, m := range map[string]*Manager{"none": nil, "its socket is gone": {socket: gone}, "nobody listens on its socket": {socket: left}} {
		for _, err := range []error{m.Ready(), m.Reloading(), m.Status("x"), m.Stopping(time.Second)} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := (&Manager{socket: filepath.Join(gone, strings.Repeat("x", 200))}).Ready(); err == nil {
		t.Error("no error for a socket that cannot be one")
	}
}

func TestSystemd(t *testing.T) {
	self := fmt.Sprint(os.Getpid())
	for _, c := range []struct {
		name   string
		env    map[string]string
		want   *Manager
		failed bool
	}{
		{"not under systemd", nil, nil, false},
		{"without a watchdog", map[string]string{"NOTIFY_SOCKET": "@a"}, &Manager{socket: "@a"}, false},
		{"with one", map[string]string{"NOTIFY_SOCKET": "/a", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": self}, &Manager{"/a", 30 * time.Second}, false},
		{"with one of another process", map[string]string{"NOTIFY_SOCKET": "/a", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, &Manager{socket: "/a"}, false},
		{"a watchdog and nobody to tell", map[string]string{"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": self}, nil, false},
		{"a time that is none", map[string]string{"NOTIFY_SOCKET": "/a", "WATCHDOG_USEC": "soon", "WATCHDOG_PID": self}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			names := []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
			for _, name := range names {
				t.Setenv(name, c.env[name])
				if c.env[name] == "" {
					os.Unsetenv(name)
				}
			}
			got, err := Systemd()
			if (err != nil) != c.failed {
				t.Fatalf("error %v, want one: %t", err, c.failed)
			}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(Manager{})); d != "" {
				t.Error(d)
			}
			for _, name := range names {
				if value, set := os.LookupEnv(name); set {
					t.Errorf("%s=%s is left for child processes", name, value)
				}
			}
		})
	}
}
