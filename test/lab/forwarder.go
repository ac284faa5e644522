package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// forwarder passes TCP connections on. It behaves as its backend does: a
// half-close, a reset and a refusal reach the client as such, the last one as a
// reset. It can swallow all packets of its clients instead.
type forwarder struct {
	address string
	// backend is asked for each connection.
	backend func() (string, error)

	mu       sync.Mutex
	listener *net.TCPListener       // guarded by mu; nil while down
	pairs    map[*connPair]struct{} // guarded by mu
	// healed is not nil while packets are swallowed, and closed at the end of
	// that. Guarded by mu.
	healed chan struct{}
	// goDown: down was called while packets were swallowed. Guarded by mu.
	goDown bool
	wg     sync.WaitGroup
}

const forwardDialTimeout = 5 * time.Second

func newForwarder(address string, backend func() (string, error)) *forwarder {
	return &forwarder{address: address, backend: backend, pairs: map[*connPair]struct{}{}}
}

// up starts to listen, if that was not so.
func (f *forwarder) up() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.goDown = false
	if f.listener != nil {
		return nil
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // see component.start
	ln, err := lc.Listen(context.Background(), "tcp", f.address)
	if err != nil {
		return err
	}
	f.listener = ln.(*net.TCPListener)
	f.wg.Go(func() { f.accept(f.listener) })
	return nil
}

// down refuses new connections and resets those that are open.
func (f *forwarder) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.healed != nil {
		// Nobody could tell now; heal does it.
		f.goDown = true
		return
	}
	f.downLocked()
}

func (f *forwarder) downLocked() {
	if f.listener != nil {
		_ = f.listener.Close()
		f.listener = nil
	}
	for p := range f.pairs {
		p.reset()
	}
}

// close is down for good; it waits until nothing of the forwarder runs.
func (f *forwarder) close() {
	f.mu.Lock()
	f.endBlackholeLocked()
	f.downLocked()
	f.mu.Unlock()
	f.wg.Wait()
}

// cut resets the connections to one backend.
func (f *forwarder) cut(backend string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.pairs {
		if p.backend == backend {
			p.reset()
		}
	}
}

// blackhole swallows the packets between the forwarder and its clients.
func (f *forwarder) blackhole() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.healed != nil {
		return nil
	}
	if f.listener == nil {
		return errors.New("its relay is down")
	}
	f.healed = make(chan struct{})
	errs := []error{swallow(f.listener)}
	for p := range f.pairs {
		errs = append(errs, swallow(p.client))
	}
	return errors.Join(errs...)
}

// heal ends blackhole.
func (f *forwarder) heal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.healed == nil {
		return nil
	}
	var errs []error
	if f.listener != nil {
		errs = append(errs, unswallow(f.listener))
	}
	for p := range f.pairs {
		errs = append(errs, unswallow(p.client))
	}
	f.endBlackholeLocked()
	if f.goDown {
		f.downLocked()
	}
	return errors.Join(errs...)
}

func (f *forwarder) endBlackholeLocked() {
	if f.healed != nil {
		close(f.healed)
		f.healed = nil
	}
}

func (f *forwarder) accept(ln *net.TCPListener) {
	for {
		client, err := ln.AcceptTCP()
		if err != nil {
			return // The listener was closed.
		}
		f.wg.Go(func() { f.serve(client) })
	}
}

func (f *forwarder) serve(client *net.TCPConn) {
	p := &connPair{client: client, done: make(chan struct{})}
	backend, err := f.backend()
	if err != nil {
		p.reset()
		return
	}
	p.backend = backend
	conn, err := net.DialTimeout("tcp", backend, forwardDialTimeout)
	if err != nil {
		p.reset()
		return
	}
	p.server = conn.(*net.TCPConn)
	if !f.add(p) {
		p.reset()
		return
	}
	defer f.remove(p)
	var wg sync.WaitGroup
	wg.Go(func() { f.pump(p, p.server, p.client) })
	wg.Go(func() { f.pump(p, p.client, p.server) })
	wg.Wait()
	p.end(false)
}

// add takes p unless the forwarder has gone down meanwhile.
func (f *forwarder) add(p *connPair) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil {
		return false
	}
	if f.healed != nil {
		// Accepted just before the blackhole.
		if err := swallow(p.client); err != nil {
			return false
		}
	}
	f.pairs[p] = struct{}{}
	return true
}

func (f *forwarder) remove(p *connPair) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pairs, p)
}

// pump copies one direction, and its end.
func (f *forwarder) pump(p *connPair, dst, src *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		f.waitHealed(p)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				p.reset()
				return
			}
		}
		if err == nil {
			continue
		}
		if err == io.EOF && dst.CloseWrite() == nil {
			return
		}
		p.reset()
		return
	}
}

// waitHealed returns when packets pass, or p has ended.
func (f *forwarder) waitHealed(p *connPair) {
	f.mu.Lock()
	healed := f.healed
	f.mu.Unlock()
	if healed == nil {
		return
	}
	select {
	case <-healed:
	case <-p.done:
	}
}

// connPair is a client's connection and the one to its backend.
type connPair struct {
	client  *net.TCPConn
	server  *net.TCPConn // nil until the backend is connected
	backend string
	once    sync.Once
	done    chan struct{}
}

// reset closes both connections at once, with RST.
func (p *connPair) reset() { p.end(true) }

func (p *connPair) end(rst bool) {
	p.once.Do(func() {
		close(p.done)
		for _, c := range []*net.TCPConn{p.client, p.server} {
			if c == nil {
				continue
			}
			if rst {
				// Failing to set it costs only the RST.
				_ = c.SetLinger(0)
			}
			_ = c.Close()
		}
	})
}
