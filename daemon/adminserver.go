package daemon

import (
	"net"
	"net/netip"
	"strconv"

	"go.uber.org/zap"

	"github.com/kuberelay/kuberelay/admin"
)

// watchAdmin reports an admin server that fails while it runs. Nothing else ends:
// requests do not need it, and Prometheus alerts on its silence.
func (d *Daemon) watchAdmin() {
	<-d.admin.Done()
	if err := d.admin.Err(); err != nil {
		d.log.Error("the admin server has failed, requests go on", zap.Error(err))
		d.events.Add(admin.Event{Kind: admin.EventProcess, Text: "the admin server has failed: " + err.Error()})
	}
}

// adminAddressFor is where peers' users find the admin server that is bound at
// an address: empty if they cannot. Of a node that serves on all its addresses it
// is the one at which gossip reaches it.
func adminAddressFor(bound net.Addr, gossip netip.AddrPort) string {
	tcp, ok := bound.(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := tcp.AddrPort().Addr().Unmap()
	if host.IsUnspecified() {
		host = gossip.Addr().Unmap()
	}
	if !host.IsValid() || host.IsUnspecified() || host.IsLoopback() {
		return ""
	}
	return net.JoinHostPort(host.String(), strconv.Itoa(tcp.Port))
}
