package daemon_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestStopAnswersWhoIsConnected stops a daemon with a client whose connection
// was accepted and who asks only then.
func TestStopAnswersWhoIsConnected(t *testing.T) {
	r := start(t, servers(t, 1))
	begun, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	r.all("GET /api/v1/nodes", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(begun); <-released }))
	r.all("GET /api/v1/namespaces", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	late, slow := r.dial(t), r.dial(t)
	slow.send("GET /api/v1/nodes HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-begun // so the connection before it was accepted, too
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- r.Daemon.Stop(ctx) }()
	address := late.conn.RemoteAddr().String()
	for { // until it has closed its listeners
		c, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		c.Close()
	}
	late.send("GET /api/v1/namespaces HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if got := late.receive("GET"); got.Code != 200 {
		t.Errorf("the late request: HTTP %d, want 200", got.Code)
	}
	late.rest() // fails when the connection is still open
	release()
	if got := slow.receive("GET"); got.Code != 200 {
		t.Errorf("the slow request: HTTP %d, want 200", got.Code)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}
