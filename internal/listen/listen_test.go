package listen_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/kuberelay/kuberelay/internal/listen"
)

func open(t *testing.T, address string, o listen.Options) net.Listener {
	t.Helper()
	l, err := listen.Listen(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// connect makes one connection through l and returns both ends.
func connect(t *testing.T, l net.Listener) (client, server net.Conn) {
	t.Helper()
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func TestTCP(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:0": "127.0.0.1:",
		"localhost:0": "127.0.0.1:",
		"[::1]:0":     "[::1]:",
		":0":          "[::]:",
		"0.0.0.0:0":   "[::]:", // As kubectl proxy prints it: a dual-stack socket.
	} {
		t.Run(address, func(t *testing.T) {
			l := open(t, address, listen.Options{})
			if got := l.Addr().String(); !strings.HasPrefix(got, want) || strings.HasSuffix(got, ":0") {
				t.Errorf("listens on %s, want %sPORT", got, want)
			}
			client, server := connect(t, l)
			if _, err := io.WriteString(client, "hello"); err != nil {
				t.Fatal(err)
			}
			client.Close()
			if got, err := io.ReadAll(server); string(got) != "hello" || err != nil {
				t.Errorf("received %q, %v", got, err)
			}
		})
	}
}

func TestErrorsAreKubectls(t *testing.T) {
	busy := open(t, "127.0.0.1:0", listen.Options{}).Addr().String()
	for address, want := range map[string]string{
		"127.0.0.1:70000": "listen tcp: address 70000: invalid port",
		"127.0.0.1:-1":    "listen tcp: address -1: invalid port",
		"::1:8001":        "listen tcp: address ::1:8001: too many colons in address",
		"8001":            "listen tcp: address 8001: missing port in address",
		busy:              "listen tcp " + busy + ": bind: address already in use",
	} {
		l, err := listen.Listen(t.Context(), address, listen.Options{})
		if err == nil {
			l.Close()
		}
		if err == nil || err.Error() != want {
			t.Errorf("Listen(%q): %v, want %s", address, err, want)
		}
	}
}

// announced returns a logger, and the messages it gets.
func announced() (*zap.Logger, <-chan string) {
	messages := make(chan string, 1)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zap.WarnLevel)
	return zap.New(zapcore.RegisterHooks(core, func(e zapcore.Entry) error {
		messages <- e.Message
		return nil
	})), messages
}

func TestConnectionsAreBounded(t *testing.T) {
	log, messages := announced()
	l := open(t, "127.0.0.1:0", listen.Options{MaxConnections: 2, Log: log})
	_, first := connect(t, l)
	connect(t, l)

	third, err := net.Dial("tcp", l.Addr().String()) // The kernel answers it.
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	select {
	case got := <-messages: // Accept found no slot, and says so before it waits.
		if want := "too many open connections, new ones wait"; got != want {
			t.Errorf("log: %q, want %q", got, want)
		}
	case <-accepted:
		t.Fatal("a third connection was accepted while two were open")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	c, ok := <-accepted
	if !ok {
		t.Fatal("the third connection was not accepted once there was room")
	}
	c.Close()
}

func TestCloseEndsAnAcceptThatWaitsForRoom(t *testing.T) {
	log, messages := announced()
	l := open(t, "127.0.0.1:0", listen.Options{MaxConnections: 1, Log: log})
	connect(t, l)
	result := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		result <- err
	}()
	<-messages
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want net.ErrClosed", err)
	}
}

// A failed Accept gives its slot back: the bound would shrink otherwise.
func TestFailedAcceptTakesNoRoom(t *testing.T) {
	inner := &failing{Listener: open(t, "127.0.0.1:0", listen.Options{MaxConnections: -1}), failures: 3}
	l := listen.Bound(inner, listen.Options{MaxConnections: 1})
	for range 3 {
		if _, err := l.Accept(); !errors.Is(err, errAccept) {
			t.Fatalf("Accept: %v, want %v", err, errAccept)
		}
	}
	connect(t, l)
}

var errAccept = errors.New("accept failed")

type failing struct {
	net.Listener
	failures int
}

func (l *failing) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errAccept
	}
	return l.Listener.Accept()
}

func TestConnectionsKeepWhatTheDataPathNeeds(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", listen.Unix(t.TempDir() + "/s")} {
		_, server := connect(t, open(t, address, listen.Options{}))
		for name, ok := range map[string]bool{
			"ReadFrom":    is[io.ReaderFrom](server) || is[net.PacketConn](server),
			"CloseWrite":  is[interface{ CloseWrite() error }](server),
			"SyscallConn": is[syscall.Conn](server),
		} {
			if !ok {
				t.Errorf("%s: the connection has no %s", address, name)
			}
		}
	}
}

func is[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:0": true, "[::1]:0": true, "localhost:0": true, "127.0.0.9:0": true,
		":0": false, "0.0.0.0:0": false,
		listen.Unix(t.TempDir() + "/s"): true,
	} {
		if got := listen.Loopback(open(t, address, listen.Options{}).Addr()); got != want {
			t.Errorf("Loopback(%s) = %v, want %v", address, got, want)
		}
	}
}
