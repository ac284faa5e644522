package listen

import (
	"context"
	"io/fs"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"
)

// DefaultMaxConnections bounds a listener that was not given a bound.
const DefaultMaxConnections = 16384

// DefaultSocketMode is who may connect to a Unix socket: its owner.
const DefaultSocketMode fs.FileMode = 0o700

// Options of a listener. The zero value is kubectl proxy's behaviour.
type Options struct {
	// KeepAlive is the period of TCP keep-alive probes on accepted
	// connections. Zero means Go's default, 15 seconds; negative, none.
	KeepAlive time.Duration
	// MaxConnections is how many accepted connections may be open at once;
	// further ones wait in the kernel's queue. Zero means
	// DefaultMaxConnections; negative, no bound.
	MaxConnections int
	// SocketMode is the mode of a Unix socket's file. Zero means
	// DefaultSocketMode. The socket has it from the moment it can be
	// connected to.
	SocketMode fs.FileMode
	// Log gets a line when the bound on connections is reached. May be nil.
	Log *zap.Logger
}

// Listen opens a listening socket at address:
//
//	127.0.0.1:8001, [::1]:0, localhost:http, :8001    TCP
//	unix:///run/kuberelay.sock, unix:relative.sock    a Unix socket (see [Unix])
//	unix:@name                                        an abstract one (Linux)
//
// Errors are those of package net, as kubectl proxy prints them. Inherited
// sockets have addresses too, see [Inherited].
func Listen(ctx context.Context, address string, o Options) (net.Listener, error) {
	var l net.Listener
	var err error
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		l, err = listenUnix(ctx, path, o)
	} else {
		config := net.ListenConfig{
			KeepAlive:       o.KeepAlive, // Here only its being negative counts.
			KeepAliveConfig: net.KeepAliveConfig{Enable: o.KeepAlive >= 0, Idle: o.KeepAlive, Interval: o.KeepAlive},
		}
		// A multipath connection outlives the socket that it began with, so its
		// peer cannot be told. Clients fall back to plain TCP.
		config.SetMultipathTCP(false)
		l, err = config.Listen(ctx, "tcp", address)
	}
	if err != nil {
		return nil, err
	}
	return Bound(l, o), nil
}

// Unix returns the address of the Unix socket at path, which may be relative,
// or abstract if it begins with @.
func Unix(path string) string {
	if strings.HasPrefix(path, "/") {
		return "unix://" + path
	}
	return "unix:" + path
}

// Loopback reports whether only this machine's processes can connect to a
// listener's address.
func Loopback(a net.Addr) bool {
	switch a := a.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	}
	return false
}
