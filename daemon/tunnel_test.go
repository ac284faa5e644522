package daemon_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// TestTunnelsCarryEveryByte sends more through many tunnels at once than any
// buffer on the way holds, some of it before the 101 is back.
func TestTunnelsCarryEveryByte(t *testing.T) {
	r := start(t, servers(t, 2))
	const greeting = "sent together with the head"
	r.all("GET /api/v1/namespaces/x/pods/p/portforward", fakeapi.Upgrade(greeting))
	sent := bytes.Repeat([]byte("bytes of a tunnel "), 20_000)
	var tunnels sync.WaitGroup
	for range 8 {
		tunnels.Go(func() {
			for range 8 {
				if err := r.tunnel("/api/v1/namespaces/x/pods/p/portforward", greeting, sent); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	tunnels.Wait()
	if n := r.received("GET /api/v1/namespaces/x/pods/p/portforward"); n != 64 {
		t.Errorf("%d upgrades reached the servers, want 64", n)
	}
}

// tunnel upgrades a connection, sends the bytes, and wants them echoed.
func (r *relay) tunnel(path, greeting string, sent []byte) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n", path)
		if err == nil {
			_, err = conn.Write(sent)
		}
		written <- err
	}()
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	got := make([]byte, len(greeting)+len(sent))
	if n, err := io.ReadFull(in, got); err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, len(got), err)
	}
	if string(got[:len(greeting)]) != greeting || !bytes.Equal(got[len(greeting):], sent) {
		return fmt.Errorf("the bytes differ from what was sent")
	}
	return <-written
}
