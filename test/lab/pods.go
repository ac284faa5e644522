package lab

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// podLog is the log file of all containers of all pods.
type podLog struct {
	path string

	mu   sync.Mutex
	file *os.File // guarded by mu
}

func newPodLog(path string) (*podLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &podLog{path: path, file: f}
	return p, p.append("pod started")
}

// append writes each line of text in the format of the container runtime
// interface: time, stream, F for a full line.
func (p *podLog) append(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for line := range strings.Lines(text) {
		fmt.Fprintf(&b, "%s stdout F %s\n", time.Now().UTC().Format(time.RFC3339Nano), strings.TrimSuffix(line, "\n"))
	}
	_, err := p.file.WriteString(b.String())
	return err
}

func (p *podLog) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file.Close()
}

// AppendLog adds lines to the log that `kubectl logs` shows, `logs -f` follows
// and `attach` streams. It is the same log for all containers of all pods.
func (l *Lab) AppendLog(text string) error { return l.podLog.append(text) }

// echoServer sends back what it gets (RFC 862).
type echoServer struct {
	listener net.Listener
	mu       sync.Mutex
	conns    map[net.Conn]struct{} // guarded by mu; nil after close
	wg       sync.WaitGroup
}

func newEchoServer() (*echoServer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &echoServer{listener: ln, conns: map[net.Conn]struct{}{}}
	e.wg.Go(e.accept)
	return e, nil
}

func (e *echoServer) address() string { return e.listener.Addr().String() }

func (e *echoServer) accept() {
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return // The listener was closed.
		}
		if !e.add(conn) {
			conn.Close()
			return
		}
		e.wg.Go(func() {
			defer e.remove(conn)
			// The client's errors are the client's business.
			_, _ = io.Copy(conn, conn)
		})
	}
}

func (e *echoServer) add(conn net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		return false
	}
	e.conns[conn] = struct{}{}
	return true
}

func (e *echoServer) remove(conn net.Conn) {
	conn.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, conn)
}

func (e *echoServer) close() {
	e.listener.Close()
	e.mu.Lock()
	for conn := range e.conns {
		conn.Close()
	}
	e.conns = nil
	e.mu.Unlock()
	e.wg.Wait()
}
