package lab

import (
	"errors"
)

// The lab's own clients, which are kwok and the methods that create objects,
// must get through whatever a test does to a server. They connect to the
// gateway: a TCP forwarder that leads to the first server to which nothing was
// done, and drops the connections to a server that something is done to.

func (l *Lab) gatewayBackend() (string, error) {
	for _, s := range l.Servers {
		if s.usable.Load() && s.pid() != 0 {
			return s.Address(), nil
		}
	}
	return "", errors.New("no API server to connect to")
}

// leave drops the gateway's connections to s.
func (l *Lab) leave(s *Server) {
	s.usable.Store(false)
	l.gateway.cut(s.Address())
}
