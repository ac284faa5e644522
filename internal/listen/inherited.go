package listen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// inheritedScheme begins the addresses of inherited sockets.
const inheritedScheme = "systemd:"

// Inherited are the listening sockets that the process was started with, by
// name. Several may have one name. They stay open, so that a listener which a
// reload removes can come back; [Inherited.Listen] hands out duplicates.
type Inherited map[string][]net.Listener

// Systemd takes the sockets that systemd has passed to this process, if any,
// as sd_listen_fds(3) describes it. A socket's name is its unit's
// FileDescriptorName=, by default the name of the unit: kuberelay.socket.
//
// It is for one call, at the start, from main: it takes the file descriptors,
// closes them to processes that this one will start, and unsets the variables
// that announce them. A socket that nobody can listen on is an error which
// names the unit's setting; all sockets are closed then.
func Systemd() (Inherited, error) {
	files := activation.Files(true)
	// Newer than package activation (systemd 259).
	if err := os.Unsetenv("LISTEN_PIDFDID"); err != nil {
		return nil, err
	}
	in := Inherited{}
	var errs []error
	for i, f := range files {
		l, err := inherit(f)
		if err != nil {
			errs = append(errs, fmt.Errorf("socket %s, inherited as file descriptor %d, %w", f.Name(), i+3, err))
			continue
		}
		in[f.Name()] = append(in[f.Name()], l)
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, in.Close())...)
	}
	return in, nil
}

// inherit makes a listener of an inherited file, which it closes.
func inherit(f *os.File) (net.Listener, error) {
	defer f.Close()
	if err := checkInherited(f); err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot be listened on: %w", err)
	}
	return l, nil
}

// Listen opens the listening sockets at address, with in for the inherited
// ones: systemd:NAME is all those of that name. Any other address is
// [Listen]'s.
//
// Of the options only those on connections apply to an inherited socket. Its
// file's mode and its keep-alive probes are its unit's: SocketMode=, KeepAlive=.
func (in Inherited) Listen(ctx context.Context, address string, o Options) ([]net.Listener, error) {
	name, ok := strings.CutPrefix(address, inheritedScheme)
	if !ok {
		l, err := Listen(ctx, address, o)
		if err != nil {
			return nil, err
		}
		return []net.Listener{l}, nil
	}
	originals := in[name]
	if len(originals) == 0 {
		have := "it was started with none"
		if len(in) > 0 {
			have = "it has " + strings.Join(slices.Sorted(maps.Keys(in)), ", ")
		}
		return nil, fmt.Errorf("listen %s: this process has inherited no socket of that name; %s "+
			"(the name is the socket unit's FileDescriptorName=, by default that of the unit)", address, have)
	}
	opened := make([]net.Listener, 0, len(originals))
	for _, original := range originals {
		l, err := duplicate(original)
		if err != nil {
			errs := []error{fmt.Errorf("listen %s: duplicate the inherited socket: %w", address, err)}
			for _, l := range opened {
				errs = append(errs, l.Close())
			}
			return nil, errors.Join(errs...)
		}
		opened = append(opened, Bound(l, o))
	}
	return opened, nil
}

// Close closes the sockets. Those that Listen has opened stay open.
func (in Inherited) Close() error {
	var errs []error
	for _, listeners := range in {
		for _, l := range listeners {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// duplicate returns a listener of its own on l's socket.
func duplicate(l net.Listener) (net.Listener, error) {
	socket, ok := l.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("a listener of type %T has no File method", l)
	}
	f, err := socket.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return net.FileListener(f)
}
