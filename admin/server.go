package admin

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/net/netutil"
)

// Limits of the server. Nothing here takes long, and a scrape comes every few
// seconds.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	maxConnections    = 128
)

// Config is the admin server's part of the configuration.
type Config struct {
	// Address is the TCP address to listen on, host:port. Port 0 takes a free
	// one. Empty means no admin server. Whoever can reach the server sees what
	// the process does, so give it a loopback or an internal address.
	Address string `yaml:"address"`

	// Hosts are further host names that Address answers to, without port. IP
	// addresses, localhost, the host of Address and this machine's own host name,
	// whole and up to its first dot, need not be among them. Another Host is 421.
	Hosts []string `yaml:"hosts"`

	// ControlSocket is the path of the Unix socket, mode 0660, on which
	// operators change things: drain, revoke, reload. It also serves what
	// Address does, and profiles. Empty means none.
	ControlSocket string `yaml:"controlSocket"`
}

// Validate reports an address that cannot be listened on. An empty one is fine.
func (c Config) Validate() error {
	if c.Address == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		return fmt.Errorf("%q is no host:port, such as 127.0.0.1:9801: %w", c.Address, err)
	}
	return nil
}

// Options are what the server shows.
type Options struct {
	Status   func() Status        // for /api/v1/status; required
	Ready    func() error         // nil when every cluster has a usable upstream, else which has none, and why; required
	Registry *prometheus.Registry // for /metrics; required
	Log      *zap.Logger          // nil: none
	Source   string               // what names the address in errors; default "--admin-address"
	Hosts    string               // what names Config.Hosts in answers; empty: they cannot be set
}

// Server is the admin server. Make one with [New], then Start it once.
type Server struct {
	address string
	options Options
	http    *http.Server

	mu       sync.Mutex
	listener net.Listener  // guarded by mu; nil before Start
	done     chan struct{} // closed when serving ended
	err      error         // why serving ended; written before done is closed
}

// New checks the configuration and prepares the server. It does not listen yet.
func New(cfg Config, o Options) (*Server, error) {
	if o.Source == "" {
		o.Source = "--admin-address"
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if cfg.Address == "" {
		return nil, fmt.Errorf("%s: no address given", o.Source)
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Source, err)
	}
	p, err := newPages(o)
	if err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		o.Log.Warn("this machine's name is not known: the admin server does not answer to it", zap.Error(err))
	}
	names := namesOf(cfg.Address, hostname, cfg.Hosts)
	return &Server{
		address: cfg.Address, options: o, done: make(chan struct{}),
		http: newHTTP(guard(names, o.advice(), p.handler()), p.errorLog),
	}, nil
}

// advice is what to set for another host name.
func (o Options) advice() string {
	if o.Hosts == "" {
		return ": give " + o.Source + " the name in place of an address, or ask for the address"
	}
	return ": add the name to " + o.Hosts
}

func newHTTP(h http.Handler, errorLog *log.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog,
	}
}

// Start binds the address and begins to serve. Its error names the option and
// the address, such as "--admin-address: listen tcp 127.0.0.1:9801: bind:
// address already in use". When ctx ends, serving ends at once; [Server.Shutdown]
// lets requests finish.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return errors.New("admin server: already started")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("%s: %w", s.options.Source, err)
	}
	s.listener = l
	release := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	go func() {
		defer close(s.done)
		defer release()
		if err := s.http.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("admin server on %s: %w", l.Addr(), err)
		}
	}()
	return nil
}

// Addr is the bound address, nil before Start.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Done is closed when a started server serves no more: after the end of ctx,
// after Shutdown, or when its listener failed.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why serving ended by itself: nil while it goes on, after the end of ctx
// and after Shutdown.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Shutdown stops accepting, waits until the running requests are answered, and
// returns when nothing of the server is left. When ctx ends first, it cuts them
// off and returns ctx's error. It is fine to call it before Start or twice.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
		err = fmt.Errorf("admin server: %w", err)
	}
	s.mu.Lock()
	started := s.listener != nil
	s.mu.Unlock()
	if started {
		<-s.done
	}
	return err
}
