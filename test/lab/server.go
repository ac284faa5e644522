package lab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// State says what was done to a server.
type State string

// The states of a server. A server that ended by itself is Dead, too.
const (
	Running    State = "running"
	Stopped    State = "stopped"    // frozen with SIGSTOP
	Blackholed State = "blackholed" // runs, but no packet passes
	Dead       State = "dead"
)

const (
	signalTimeout = 5 * time.Second
	probeTimeout  = time.Second
	// Against a blackhole that only part of the sockets are in.
	cutOffTimeout = 5 * time.Second
)

// Server is one kube-apiserver.
type Server struct {
	// Index is the server's place in Lab.Servers.
	Index int

	*component
	lab  *Lab
	port int // where clients connect
	// relay, when there is one, has port; the process then listens on inner.
	relay *forwarder
	inner int
	doors doors

	// usable: ready since its start, and neither stopped nor blackholed.
	usable atomic.Bool

	mu      sync.Mutex // held across what changes the server's state
	stopped bool       // guarded by mu
	black   bool       // guarded by mu
}

func (l *Lab) newServer(i int) (*Server, error) {
	s := &Server{Index: i, lab: l}
	if err := l.ports.takeAll(&s.port, &s.inner); err != nil {
		return nil, err
	}
	s.component = l.component(fmt.Sprintf("kube-apiserver-%d", i), l.Paths.APIServer, s.args)
	s.component.onExit = s.doors.down
	return s, nil
}

// useRelay puts a relay at the server's port, before the first start.
func (s *Server) useRelay() {
	s.relay = newForwarder(loopback(s.port), func() (string, error) { return loopback(s.inner), nil })
	s.component.onExit = func() {
		s.relay.down()
		s.doors.down()
	}
}

func (s *Server) args() []string {
	port, l := s.port, s.lab
	if s.relay != nil {
		port = s.inner
	}
	args := []string{
		"--etcd-servers=" + l.etcdURL,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + l.pki.file("apiserver.crt"),
		"--tls-private-key-file=" + l.pki.file("apiserver.key"),
		"--client-ca-file=" + l.CAFile(),
		"--token-auth-file=" + l.pki.file("tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + l.pki.file("service-account.pub"),
		"--service-account-signing-key-file=" + l.pki.file("service-account.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=RBAC",
		// It would wait for a controller that is not there.
		"--disable-admission-plugins=ServiceAccount",
		// All servers have one address and differ by port, which the reconcilers
		// cannot express: PublishEndpoints does it.
		"--endpoint-reconciler-type=none",
		"--kubelet-certificate-authority=" + l.CAFile(),
		"--kubelet-client-certificate=" + l.pki.file("kubelet-client.crt"),
		"--kubelet-client-key=" + l.pki.file("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--allow-privileged=true",
	}
	args = append(args, s.auditArgs()...)
	if l.opts.ExtraAPIServerArgs != nil {
		args = append(args, l.opts.ExtraAPIServerArgs(s.Index)...)
	}
	return args
}

// startServers starts all servers at once and waits until all are ready.
func (l *Lab) startServers(ctx context.Context) error {
	l.logf("starting %d API servers…", len(l.Servers))
	cause := errors.New("relays were asked for")
	if !l.opts.Relay {
		cause = canCutOff(l.etcd.pid())
	}
	if cause != nil {
		l.logf("API servers are behind relays of the lab: %v", cause)
		for _, s := range l.Servers {
			s.useRelay()
		}
	}
	if err := l.gateway.up(); err != nil {
		return err
	}
	errs := make([]error, len(l.Servers))
	var wg sync.WaitGroup
	for i, s := range l.Servers {
		wg.Go(func() { errs[i] = s.Start(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// URL is where clients reach the server, as https://127.0.0.1:PORT.
func (s *Server) URL() string { return "https://" + s.Address() }

// Address is the server's host:port. It is the same after a restart.
func (s *Server) Address() string { return loopback(s.port) }

// PID is the server's process ID, 0 when it is not running.
func (s *Server) PID() int { return s.pid() }

// State says what was done to the server.
func (s *Server) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked()
}

func (s *Server) stateLocked() State {
	switch {
	case s.pid() == 0:
		return Dead
	case s.black:
		return Blackholed
	case s.stopped:
		return Stopped
	}
	return Running
}

// Start starts the server at its port and waits for /readyz. It fails when the
// server is running. A blackhole ends with it.
func (s *Server) Start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.WaitReady(ctx)
}

func (s *Server) launch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid() != 0 {
		return fmt.Errorf("start %s: it is running as process %d", s.name, s.pid())
	}
	s.stopped, s.black = false, false
	s.usable.Store(false)
	if s.relay != nil {
		if err := errors.Join(s.relay.heal(), s.relay.up()); err != nil {
			return err
		}
	}
	if err := s.doors.up(); err != nil {
		return err
	}
	return s.component.start()
}

// WaitReady waits until the server's /readyz answers 200.
func (s *Server) WaitReady(ctx context.Context) error {
	err := s.until(ctx, s.name+" to be ready", func(ctx context.Context) error {
		return probe(ctx, s.lab.prober, s.URL()+"/readyz")
	})
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.usable.Store(s.stateLocked() == Running)
	}
	return err
}

// Restart ends the server with SIGTERM if it runs, and starts it again.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Term(ctx); err != nil {
		return err
	}
	return s.Start(ctx)
}

// Kill ends the server as kill -9 does and waits for that: its connections are
// reset and its port refuses.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid() == 0 {
		return fmt.Errorf("kill %s: it is not running", s.name)
	}
	s.component.kill()
	return nil
}

// Term sends SIGTERM, with which the server finishes the requests it has, and
// waits for the end of the process. It does nothing when the server is dead.
func (s *Server) Term(ctx context.Context) error {
	if s.State() == Stopped {
		if err := s.Cont(); err != nil {
			return err
		}
	}
	return s.terminate(ctx)
}

// Stop freezes the server with SIGSTOP and waits for that: its connections stay
// open, new ones are accepted by the kernel, and nothing answers.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), signalTimeout)
	defer cancel()
	if err := s.freeze(ctx); err != nil {
		return err
	}
	s.stopped = true
	s.lab.leave(s)
	return nil
}

// Cont lets the server go on after Stop.
func (s *Server) Cont() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.thaw(); err != nil {
		return err
	}
	s.stopped = false
	s.usable.Store(!s.black)
	return nil
}

// Blackhole makes the packets between the server and its clients vanish in both
// directions, those of open connections and those that would open new ones: no
// FIN, no RST, no ACK. The server itself runs on and reaches etcd and kubelets.
func (s *Server) Blackhole() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid := s.pid()
	if pid == 0 {
		return fmt.Errorf("blackhole %s: it is not running", s.name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), cutOffTimeout)
	defer cancel()
	var err error
	if s.relay != nil {
		err = s.relay.blackhole()
	} else {
		err = cutOff(ctx, pid, s.port)
	}
	if err = errors.Join(err, s.doors.blackhole()); err != nil {
		return fmt.Errorf("blackhole %s: %w", s.name, err)
	}
	s.black = true
	s.lab.leave(s)
	return nil
}

// Heal ends a blackhole. Packets pass again; what was sent meanwhile arrives
// when TCP sends it again, which takes about as long again as the blackhole
// lasted.
func (s *Server) Heal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if pid := s.pid(); s.relay != nil {
		err = s.relay.heal()
	} else if pid != 0 {
		err = reconnect(pid, s.port)
	}
	if err = errors.Join(err, s.doors.heal()); err != nil {
		return fmt.Errorf("heal %s: %w", s.name, err)
	}
	s.black = false
	s.usable.Store(!s.stopped)
	return nil
}
