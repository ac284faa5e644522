//go:build unix

package listen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/kuberelay/kuberelay/internal/listen"
)

func init() { child = inheritor }

// inheritor is a process that systemd starts with sockets.
func inheritor(mode string) error {
	pid := os.Getpid()
	switch mode {
	case "grandchild":
		return grandchild()
	case "not for it":
		pid++
	}
	if err := os.Setenv("LISTEN_PID", strconv.Itoa(pid)); err != nil {
		return err
	}
	in, err := listen.Systemd()
	if err != nil {
		return err
	}
	fmt.Println("names:", slices.Sorted(maps.Keys(in)))
	if mode == "serves" {
		for _, name := range slices.Sorted(maps.Keys(in)) {
			if err := greet(in, name); err != nil {
				return err
			}
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=grandchild")
	out, err := cmd.CombinedOutput()
	os.Stdout.Write(out)
	return err
}

// greet says the name of each socket of that name to whoever connects to it.
func greet(in listen.Inherited, name string) error {
	listeners, err := in.Listen(context.Background(), "systemd:"+name, listen.Options{})
	if err != nil {
		return err
	}
	for _, l := range listeners {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c, name); err != nil {
			return err
		}
		if err := errors.Join(c.Close(), l.Close()); err != nil {
			return err
		}
	}
	return nil
}

// grandchild prints what it has of the sockets: nothing, if all is well.
func grandchild() error {
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "LISTEN_") {
			fmt.Println("inherited the variable", v)
		}
	}
	for fd := 3; fd < 16; fd++ {
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
			fmt.Println("inherited the socket", fd)
		}
	}
	return nil
}

// startInheritor starts an inheritor with files, and returns its command and
// what it will have written.
func startInheritor(t *testing.T, mode string, names []string, files ...*os.File) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(), childEnv+"="+mode, "GORACE=atexit_sleep_ms=0",
		"LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"), "LISTEN_PIDFDID=1")
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// socket opens a listener and returns it with its file.
func socket(t *testing.T, network, address string) (net.Listener, *os.File) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, file(t, l)
}

func file(t *testing.T, of any) *os.File {
	t.Helper()
	f, err := of.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSocketsOfSystemdAreServed(t *testing.T) {
	tcp, tcpFile := socket(t, "tcp", "127.0.0.1:0")
	tcp6, tcp6File := socket(t, "tcp", "[::1]:0")
	sock, sockFile := socket(t, "unix", filepath.Join(t.TempDir(), "s"))
	cmd, out := startInheritor(t, "serves", []string{"team.socket", "local", "team.socket"}, tcpFile, sockFile, tcp6File)
	for _, tt := range []struct {
		l    net.Listener
		want string
	}{{tcp, "team.socket"}, {tcp6, "team.socket"}, {sock, "local"}} {
		c, err := net.Dial(tt.l.Addr().Network(), tt.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// At the end, for the child serves them in an order of its own.
		defer func() {
			if got, err := io.ReadAll(c); string(got) != tt.want || err != nil {
				t.Errorf("%v says %q, %v; want %q", tt.l.Addr(), got, err, tt.want)
			}
		}()
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the child: %v", err)
	}
	if diff := cmp.Diff("names: [local team.socket]\n", out.String()); diff != "" {
		t.Errorf("the child and its own child wrote (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(sock.Addr().String()); err != nil {
		t.Errorf("the child has removed systemd's socket file: %v", err)
	}
}

func TestWhatSystemdPasses(t *testing.T) {
	_, good := socket(t, "tcp", "127.0.0.1:0")
	datagram, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	l := open(t, "127.0.0.1:0", listen.Options{})
	connection, _ := connect(t, l)
	fifo, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	for name, tt := range map[string]struct {
		mode  string
		names []string
		files []*os.File
		want  string
	}{
		"nothing is no error": {"takes", nil, nil, "names: []\n"},
		"a socket for another process is left to it": {
			"not for it", []string{"a"}, []*os.File{good}, "names: []\n",
		},
		"a socket without a name has its descriptor's": {
			"takes", nil, []*os.File{good}, "names: [LISTEN_FD_3]\n",
		},
		"a datagram socket": {
			"takes", []string{"a", "b"}, []*os.File{good, file(t, datagram)},
			"error: socket b, inherited as file descriptor 4, is a datagram socket: " +
				"its unit must have ListenStream= instead of ListenDatagram=\n",
		},
		"a connection": {
			"takes", []string{"connection"}, []*os.File{file(t, connection)},
			"error: socket connection, inherited as file descriptor 3, is one connection, not a listening socket: " +
				"its unit must have Accept=no\n",
		},
		"a pipe": {
			"takes", []string{"a"}, []*os.File{fifo},
			"error: socket a, inherited as file descriptor 3, is not a socket: its unit must have ListenStream= only\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, out := startInheritor(t, tt.mode, tt.names, tt.files...)
			err := cmd.Wait()
			if failed := strings.HasPrefix(tt.want, "error"); failed != (err != nil) {
				t.Errorf("the child: %v", err)
			}
			want := tt.want
			if tt.mode == "not for it" { // It has not touched what is not its own.
				want += "inherited the socket 3\n"
			}
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Errorf("the child wrote (-want +got):\n%s", diff)
			}
		})
	}
}

// A listener that a reload removes and another brings back.
func TestInheritedSocketCanBeListenedOnAgain(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", filepath.Join(t.TempDir(), "s")} {
		network := "tcp"
		if strings.HasPrefix(address, "/") {
			network = "unix"
		}
		original, _ := socket(t, network, address)
		in := listen.Inherited{"team": {original}}
		for range 2 {
			listeners, err := in.Listen(t.Context(), "systemd:team", listen.Options{})
			if err != nil {
				t.Fatal(err)
			}
			connect(t, listeners[0])
			if err := listeners[0].Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Listen(t.Context(), "systemd:team", listen.Options{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Close: %v, want net.ErrClosed", err)
		}
	}
}

func TestInheritedSocketsAreBounded(t *testing.T) {
	log, messages := announced()
	original, _ := socket(t, "tcp", "127.0.0.1:0")
	listeners, err := listen.Inherited{"team": {original}}.Listen(
		t.Context(), "systemd:team", listen.Options{MaxConnections: 1, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	l := listeners[0]
	connect(t, l)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	<-messages
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want net.ErrClosed", err)
	}
}

func TestAddressesOfInherited(t *testing.T) {
	original, _ := socket(t, "tcp", "127.0.0.1:0")
	odd := open(t, "127.0.0.1:0", listen.Options{}) // Wrapped: it has no file.
	in := listen.Inherited{"team": {original}, "odd": {odd}, "half": {original, odd}}
	const hint = " (the name is the socket unit's FileDescriptorName=, by default that of the unit)"
	for _, tt := range []struct {
		in            listen.Inherited
		address, want string
	}{
		{in, "systemd:team", ""},
		{in, "127.0.0.1:0", ""},
		{nil, "127.0.0.1:0", ""},
		{in, "127.0.0.1:70000", "listen tcp: address 70000: invalid port"},
		{in, "systemd:temp", "listen systemd:temp: this process has inherited no socket of that name; it has half, odd, team" + hint},
		{in, "systemd:", "listen systemd:: this process has inherited no socket of that name; it has half, odd, team" + hint},
		{nil, "systemd:team", "listen systemd:team: this process has inherited no socket of that name; it was started with none" + hint},
		{in, "systemd:odd", "listen systemd:odd: duplicate the inherited socket: a listener of type *listen.boundListener has no File method"},
		{in, "systemd:half", "listen systemd:half: duplicate the inherited socket: a listener of type *listen.boundListener has no File method"},
	} {
		listeners, err := tt.in.Listen(t.Context(), tt.address, listen.Options{})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || (len(listeners) == 1) != (err == nil) {
			t.Errorf("Listen(%q): %d listeners, %v; want error %q", tt.address, len(listeners), err, tt.want)
		}
		for _, l := range listeners {
			l.Close()
		}
	}
}
