package lab

import (
	"io"
	"net"
	"sync"
)

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
