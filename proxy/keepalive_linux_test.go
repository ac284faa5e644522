package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// TestKeepAliveReachesTheSocket asks the kernel about the connection under an
// upgraded one, which lies below TLS and the transport's own layers.
func TestKeepAliveReachesTheSocket(t *testing.T) {
	s := fakeapi.New(t, fakeapi.Options{})
	s.Handle("GET /", fakeapi.Upgrade("hi"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		period  time.Duration
		on      bool
		seconds int
	}{
		{7 * time.Second, true, 7},
		{-1, false, 0},
	} {
		var dialed *net.TCPConn
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := h1.NewDialer().DialContext(ctx, network, address)
			if err == nil {
				dialed = conn.(*net.TCPConn)
			}
			return conn, err
		}
		up := NewUpstream(UpstreamOptions{ID: s.Addr, URL: u, TLS: &tls.Config{RootCAs: roots}, Dial: dial})
		_, conn, err := up.own.http1.Upgrade(t.Context(), &h1.Request{
			Method: "GET", Target: "/", Host: s.Addr, Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}},
		})
		if err != nil || conn == nil {
			t.Fatal(conn, err)
		}
		setKeepAlive(conn, c.period)
		if on := sockopt(t, dialed, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0; on != c.on {
			t.Errorf("--keepalive=%v: keep-alive is %t, want %t", c.period, on, c.on)
		}
		if c.on {
			idle, interval := sockopt(t, dialed, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), sockopt(t, dialed, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
			if idle != c.seconds || interval != c.seconds {
				t.Errorf("--keepalive=%v: %d s idle, %d s between probes", c.period, idle, interval)
			}
		}
		conn.Close()
		up.Close()
	}
}

func sockopt(t *testing.T, c *net.TCPConn, level, option int) (value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { value, failed = unix.GetsockoptInt(int(fd), level, option) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return value
}
