package docs

import (
	"io"
	"net"
	"sync"

	"github.com/kuberelay/kuberelay/test/lab"
)

// front is an address that leads to an API server of the lab, whose own cannot
// be chosen.
type front struct {
	address string
	server  *lab.Server

	mu       sync.Mutex
	listener net.Listener          // guarded by mu
	conns    map[*net.TCPConn]bool // both ends of each; guarded by mu
}

// open listens until cut is called.
func (f *front) open() error {
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.listener, f.conns = l, map[*net.TCPConn]bool{}
	f.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // cut
			}
			go f.join(c.(*net.TCPConn))
		}
	}()
	return nil
}

// join copies both ways until one end closes.
func (f *front) join(near *net.TCPConn) {
	conn, err := net.Dial("tcp", f.server.Address())
	if err != nil {
		near.SetLinger(0)
		near.Close()
		return
	}
	far := conn.(*net.TCPConn)
	f.mu.Lock()
	f.conns[near], f.conns[far] = true, true
	f.mu.Unlock()
	var ways sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{near, far}, {far, near}} {
		ways.Go(func() {
			io.Copy(way[0], way[1])
			way[0].CloseWrite()
		})
	}
	ways.Wait()
	near.Close()
	far.Close()
	f.mu.Lock()
	delete(f.conns, near)
	delete(f.conns, far)
	f.mu.Unlock()
}

// cut resets all connections and refuses others, as the kernel does for a
// process that was killed.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil {
		return
	}
	f.listener.Close()
	f.listener = nil
	for c := range f.conns {
		c.SetLinger(0)
		c.Close()
	}
}
