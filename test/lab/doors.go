package lab

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
)

// doors are further addresses of a server, for clients in other network
// namespaces, which have a 127.0.0.1 of their own. Each is a forwarder. Whoever
// uses one notices what is done to the server as others do.
type doors struct {
	mu  sync.Mutex
	all []*forwarder // guarded by mu
}

// Expose lets clients reach the server at another address of this machine, at
// its port, until close is called. The server's certificate does not name the
// address: localhost is in it. The server must be running.
func (s *Server) Expose(host string) (address string, closeDoor func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state := s.stateLocked(); state != Running {
		return "", nil, fmt.Errorf("expose %s at %s: it is %s", s.name, host, state)
	}
	door := newForwarder(net.JoinHostPort(host, strconv.Itoa(s.port)), func() (string, error) { return s.Address(), nil })
	if err := door.up(); err != nil {
		return "", nil, fmt.Errorf("expose %s at %s: %w", s.name, host, err)
	}
	s.doors.mu.Lock()
	defer s.doors.mu.Unlock()
	s.doors.all = append(s.doors.all, door)
	return door.address, func() { s.doors.remove(door) }, nil
}

func (d *doors) remove(door *forwarder) {
	d.mu.Lock()
	d.all = slices.DeleteFunc(d.all, func(f *forwarder) bool { return f == door })
	d.mu.Unlock()
	door.close()
}

func (d *doors) each(do func(*forwarder) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, door := range d.all {
		errs = append(errs, do(door))
	}
	return errors.Join(errs...)
}

func (d *doors) blackhole() error { return d.each((*forwarder).blackhole) }
func (d *doors) heal() error      { return d.each((*forwarder).heal) }

// up is before the start of the server.
func (d *doors) up() error {
	return d.each(func(f *forwarder) error { return errors.Join(f.heal(), f.up()) })
}

// down is after its end.
func (d *doors) down() {
	_ = d.each(func(f *forwarder) error { // None has an error.
		f.down()
		return nil
	})
}

func (d *doors) close() {
	d.mu.Lock()
	doors := d.all
	d.all = nil
	d.mu.Unlock()
	for _, door := range doors {
		door.close()
	}
}
