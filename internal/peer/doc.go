// Package peer asks the kernel who is at the other end of an accepted
// connection: by SO_PEERCRED on a Unix socket, by an exact sock_diag lookup on
// a TCP connection that cannot have come from another machine.
//
// The uid is that of the process that created the socket at the other end. A
// process that hands its socket on, and a forwarder (ssh -L, a local reverse
// proxy), are seen as what created the socket, not as who uses it.
//
// What the kernel says of a TCP socket can mislead in three ways, each of which
// leaves the peer unknown here and never somebody else:
//
//   - A socket that its process has closed is reported with uid 0 and inode 0.
//   - A port can be somebody else's by the time of the lookup. A client may send
//     a request, reset the connection while it waits to be accepted, and leave
//     the port to the next one. Our own end is therefore looked up too, after
//     the client's: only while the kernel still finds that very socket (by its
//     cookie) between these addresses can what is at the other end be its peer.
//     That also refuses a listener inherited from another network namespace,
//     in which the same addresses are other sockets'.
//   - A uid that this process's user namespace does not map is reported as the
//     overflow uid, 65534.
package peer
