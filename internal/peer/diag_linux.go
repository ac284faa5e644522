package peer

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// kernel is the process's one way to ask: the kernel answers one question at a
// time anyway.
var kernel = diag{ask: new(netlink).ask}

// diag asks the kernel for TCP sockets by their exact addresses.
type diag struct {
	mu sync.Mutex // guards all below
	// ask sends a request, and writes the datagram that answers it to answer,
	// of which it returns the length.
	ask      func(request, answer []byte) (int, error)
	sequence uint32
	request  [requestLen]byte
	answer   [4096]byte
}

// owner returns the uid of the process at the other end of the accepted
// connection between ours and theirs, whose socket on our side has the cookie.
func (d *diag) owner(ours, theirs netip.AddrPort, cookie uint64) (uint32, error) {
	client, err := d.find(theirs, ours)
	if err != nil {
		return 0, fmt.Errorf("the client's socket: %w", err)
	}
	switch client.state {
	case unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_FIN_WAIT2:
	default:
		return 0, fmt.Errorf("the client's socket is in TCP state %d: it is not, or no longer, connected", client.state)
	}
	if client.inode == 0 {
		return 0, errors.New("the client's socket belongs to no process any more: it has been closed")
	}
	if unmapped(client.uid) {
		return 0, errors.New(whyUnmapped(client.uid))
	}
	// Only now, see the package's comment.
	own, err := d.find(ours, theirs)
	if err != nil {
		return 0, fmt.Errorf("our own socket: %w", err)
	}
	if own.cookie != cookie {
		return 0, errors.New("the kernel finds another socket in our end's place: " +
			"the connection has been reset, or is of another network namespace")
	}
	switch own.state {
	case unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_CLOSE_WAIT:
		return client.uid, nil
	}
	return 0, fmt.Errorf("our own socket is in TCP state %d: the connection has ended", own.state)
}

// find returns the TCP socket that is bound to local and connected to remote.
func (d *diag) find(local, remote netip.AddrPort) (socket, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sequence++
	putRequest(&d.request, d.sequence, local, remote)
	n, err := d.ask(d.request[:], d.answer[:])
	if err != nil {
		return socket{}, err
	}
	s, err := parseAnswer(d.answer[:n], d.sequence)
	switch {
	case errors.Is(err, unix.ENOENT):
		return socket{}, errors.New("no such one in this network namespace " +
			"(it has been closed, or the kernel lacks the module tcp_diag)")
	case err != nil:
		return socket{}, fmt.Errorf("sock_diag: %w", err)
	case s.local != local || s.remote != remote:
		// If it finds no connection the kernel settles for a listener.
		return socket{}, fmt.Errorf("the kernel found one between %v and %v instead", s.local, s.remote)
	}
	return s, nil
}
