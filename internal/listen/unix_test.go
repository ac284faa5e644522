//go:build unix

package listen_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kuberelay/kuberelay/internal/listen"
)

func TestUnixAddresses(t *testing.T) {
	t.Chdir(t.TempDir())
	abs, err := filepath.Abs("abs.sock")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"unix://" + abs:            abs,
		"unix:" + abs:              abs,
		"unix:rel.sock":            "rel.sock",
		"unix:./rel.sock":          "./rel.sock",
		listen.Unix(abs):           abs,
		listen.Unix("rel.sock"):    "rel.sock",
		listen.Unix("/" + abs):     "/" + abs,
		listen.Unix("sub/../r"):    "",
		"unix:":                    "",
		"unix://":                  "",
		"unix://rel.sock":          "",
		"unix:///no/such/dir/sock": "",
	} {
		l, err := listen.Listen(t.Context(), address, listen.Options{})
		switch {
		case err != nil && want != "":
			t.Errorf("Listen(%q): %v", address, err)
		case err != nil:
			if !strings.HasPrefix(err.Error(), "listen unix") {
				t.Errorf("Listen(%q): %v, want an error of listen unix", address, err)
			}
		default:
			if got := l.Addr().String(); got != want {
				t.Errorf("Listen(%q) listens on %q, want %q", address, got, want)
			}
			if err := l.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
}

func TestSocketMode(t *testing.T) {
	umask := syscall.Umask(0o022)
	defer syscall.Umask(umask)
	for mode, want := range map[fs.FileMode]fs.FileMode{0: 0o700, 0o600: 0o600, 0o660: 0o660, 0o666: 0o666} {
		path := filepath.Join(t.TempDir(), "s")
		open(t, listen.Unix(path), listen.Options{SocketMode: mode})
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != want|fs.ModeSocket {
			t.Errorf("SocketMode %v: the file's mode is %v, want %v", mode, got, want|fs.ModeSocket)
		}
	}
	if got := syscall.Umask(0o022); got != 0o022 {
		t.Errorf("the process's umask became %o", got)
	}
}

func TestClosedSocketIsUnlinked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := open(t, listen.Unix(path), listen.Options{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v, want no file", err)
	}
}

func TestCloseLeavesWhatIsNotOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := open(t, listen.Unix(path), listen.Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := open(t, listen.Unix(path), listen.Options{})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	connect(t, second)
}

// stale leaves a socket file as a killed process does.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestStaleSocketIsReplaced(t *testing.T) {
	for _, mode := range []fs.FileMode{0o700, 0o666} {
		path := filepath.Join(t.TempDir(), "s")
		stale(t, path)
		connect(t, open(t, listen.Unix(path), listen.Options{SocketMode: mode}))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("the new socket's mode is %v, want %v", got, mode)
		}
	}
}

func TestMissingDirectoryIsSaidToBe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	_, err := listen.Listen(t.Context(), listen.Unix(dir+"/s"), listen.Options{SocketMode: 0o666})
	want := "listen unix " + dir + "/s: bind: no such file or directory " +
		"(directory " + dir + " is missing: create it, or have systemd do it with RuntimeDirectory=)"
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestWhatIsInUseIsLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string // the error after the path
	}{
		{
			"a live socket",
			func(t *testing.T, path string) { open(t, listen.Unix(path), listen.Options{}) },
			"bind: address already in use (another process answers on it: stop that one, or choose another path)",
		},
		{
			"a live socket that all may connect to",
			func(t *testing.T, path string) {
				open(t, listen.Unix(path), listen.Options{SocketMode: 0o666})
			},
			"bind: address already in use (another process answers on it: stop that one, or choose another path)",
		},
		{
			"a regular file",
			func(t *testing.T, path string) {
				if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			"bind: address already in use",
		},
		{
			"a link to a live socket",
			func(t *testing.T, path string) {
				open(t, listen.Unix(path+".target"), listen.Options{})
				if err := os.Symlink(path+".target", path); err != nil {
					t.Fatal(err)
				}
			},
			"bind: address already in use",
		},
		{
			"a datagram socket",
			func(t *testing.T, path string) {
				c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
			},
			"bind: address already in use (it cannot be told whether a process has it open " +
				"(dial unix PATH: connect: protocol wrong type for socket): remove the file if none does)",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			tt.make(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = listen.Listen(t.Context(), listen.Unix(path), listen.Options{SocketMode: 0o666})
			want := "listen unix " + path + ": " + strings.ReplaceAll(tt.want, "PATH", path)
			if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

// However many start at once on a stale socket, one gets it and the others
// learn that it is in use: nobody takes a socket that somebody listens on.
func TestOneOfManyTakesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale(t, path)
	type result struct {
		net.Listener
		err error
	}
	results := make(chan result)
	const n = 16
	for range n {
		go func() {
			l, err := listen.Listen(t.Context(), listen.Unix(path), listen.Options{})
			results <- result{l, err}
		}()
	}
	var winners []net.Listener
	for range n {
		r := <-results
		switch {
		case r.err == nil:
			winners = append(winners, r.Listener)
			t.Cleanup(func() { r.Close() })
		case !errors.Is(r.err, syscall.EADDRINUSE):
			t.Error(r.err)
		}
	}
	if len(winners) != 1 {
		t.Fatalf("%d of %d listen on one path, want 1", len(winners), n)
	}
	// Their questions are in its queue; behind them is this one.
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 1); ; {
		c, err := winners[0].Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Read(buf)
		c.Close()
		if err == nil {
			break
		}
	}
}

func TestTooLongPathIsSaidToBe(t *testing.T) {
	path := "/tmp/" + strings.Repeat("x", 120)
	_, err := listen.Listen(t.Context(), listen.Unix(path), listen.Options{})
	if err == nil || !strings.HasSuffix(err.Error(), "(the path of a Unix socket has at most 107 bytes, this one 125)") {
		t.Errorf("Listen: %v", err)
	}
}
