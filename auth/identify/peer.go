package identify

// Peer is what is known of the other end of a connection. It is found out once,
// when the connection is accepted, and never changes.
type Peer struct {
	// UID is the user ID of the peer's process; it means nothing unless
	// UIDKnown.
	UID uint32

	// UIDKnown tells that the kernel answered for this very connection.
	UIDKnown bool

	// Why says why the user ID is not known: for the operator's log, and not
	// for the client. Empty if UIDKnown.
	Why string

	// Unix tells that the connection is one of a Unix socket.
	Unix bool

	// Loopback tells that the connection is TCP of this machine with itself.
	Loopback bool
}

// local reports whether the peer is a process of this machine, whose user ID the
// kernel knows.
func (p *Peer) local() bool { return p.Unix || p.Loopback }
