package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Longer than anything takes that is expected to happen.
const patience = 90 * time.Second

// Longer than an answer takes that is expected not to come.
const silence = 1500 * time.Millisecond

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// get sends a GET to one server over a connection of its own.
func get(ctx context.Context, l *Lab, s *Server, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, nil)
	if err != nil {
		return err
	}
	return exchange(l.prober, req, nil)
}

// conn is an HTTP/1.1 connection to a server, without a client that would hide
// what happens to it.
type conn struct {
	*tls.Conn
	reader *bufio.Reader
}

func connect(t *testing.T, l *Lab, s *Server) *conn {
	t.Helper()
	config := l.TLSConfig()
	config.NextProtos = []string{"http/1.1"}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", s.Address(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &conn{Conn: c, reader: bufio.NewReader(c)}
}

func (c *conn) send(t *testing.T, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

// receive reads the head of an answer.
func (c *conn) receive(timeout time.Duration) (*http.Response, error) {
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.reader, nil)
}

// expectSilence fails if anything at all happens to the connection.
func (c *conn) expectSilence(t *testing.T) {
	t.Helper()
	// Of the TCP connection: a deadline passed inside of TLS would end that.
	raw := c.NetConn()
	if err := raw.SetReadDeadline(time.Now().Add(silence)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	n, err := raw.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, error %v, where nothing should arrive", n, err)
	}
	if err := raw.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

// kubectl runs the lab's kubectl against server 0 and returns its output.
func kubectl(ctx context.Context, l *Lab, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.Paths.Kubectl, append([]string{"--kubeconfig", l.Kubeconfig()}, args...)...)
	cmd.WaitDelay = time.Second
	return cmd
}

func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}
