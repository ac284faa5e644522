package proxy

import (
	"crypto/tls"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kuberelay/kuberelay/auth"
	"github.com/kuberelay/kuberelay/internal/h1"
)

// Pings find a watch connection on which the peer has gone silent: 5 s
// without a frame, then 5 s without an answer.
const (
	watchPingAfter   = 5 * time.Second
	watchPingTimeout = 5 * time.Second
	watchIdle        = 50 * time.Second // below the API server's 90 s
)

// connections are those to one API server that were made with one client
// certificate, or with none: HTTP/1.1 for short requests and upgrades, HTTP/2
// for watches, which share a few connections.
type connections struct {
	http1 *h1.Transport
	http2 *http.Transport

	used atomic.Int64 // Unix seconds of the last look-up; kept for certificates only
}

func newConnections(o *UpstreamOptions, tlsConfig *tls.Config) *connections {
	watches := &connector{dial: o.Dial}
	if tlsConfig != nil {
		watches.tls = tlsConfig.Clone()
		watches.tls.NextProtos = []string{"h2", "http/1.1"}
		if watches.tls.ServerName == "" {
			watches.tls.ServerName = o.URL.Hostname()
		}
	}
	return &connections{
		http1: h1.New(h1.Options{Address: HostPort(o.URL), TLS: tlsConfig, Dial: o.Dial}),
		http2: &http.Transport{
			DialContext:        watches.plain,
			DialTLSContext:     watches.secure,
			IdleConnTimeout:    watchIdle,
			DisableCompression: true,
			ForceAttemptHTTP2:  true,
			HTTP2:              &http.HTTP2Config{SendPingTimeout: watchPingAfter, PingTimeout: watchPingTimeout},
		},
	}
}

func (c *connections) closeIdle() {
	c.http1.CloseIdle()
	c.http2.CloseIdleConnections()
}

func (c *connections) closeConnections() {
	c.http1.CloseConnections()
	c.http2.CloseIdleConnections()
}

func (c *connections) close() {
	c.http1.Close()
	c.http2.CloseIdleConnections()
}

// Connections of a certificate unused for this long are closed when another
// arrives: it was rotated, or its client left.
const certificateIdle = 10 * time.Minute

// certified are the connections to one API server by client certificate. Two
// certificates never share one: the API server takes a request for that of
// the certificate's user, whatever token it carries.
type certified struct {
	mu     sync.Mutex
	sets   map[auth.TLSIdentity]*connections // guarded by mu
	closed bool                              // guarded by mu
}

// of returns the connections for the lease's certificate, and makes them with
// open if there are none yet.
func (c *certified) of(l *auth.Lease, open func(*tls.Certificate) *connections) *connections {
	now := time.Now().Unix()
	c.mu.Lock()
	defer c.mu.Unlock()
	id := l.TLSIdentity()
	set := c.sets[id]
	if set == nil {
		c.prune(now)
		set = open(l.Certificate())
		if c.closed {
			set.close()
		}
		if c.sets == nil {
			c.sets = make(map[auth.TLSIdentity]*connections)
		}
		c.sets[id] = set
	}
	set.used.Store(now)
	return set
}

// prune retires the sets that were not used for long; what is in flight on them
// goes on to its end. mu is held.
func (c *certified) prune(now int64) {
	for id, set := range c.sets {
		if now-set.used.Load() > int64(certificateIdle/time.Second) {
			set.close()
			delete(c.sets, id)
		}
	}
}

// each calls do with every set. With closing, sets that are made later are
// closed from the start.
func (c *certified) each(closing bool, do func(*connections)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = c.closed || closing
	for _, set := range c.sets {
		do(set)
	}
}
