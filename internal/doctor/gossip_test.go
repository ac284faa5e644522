package doctor

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGossipBeforeTheProcessRuns(t *testing.T) {
	peer, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	d := &doctor{options: Options{Timeout: patience}, now: time.Now}
	for name, tc := range map[string]struct {
		bind  string
		peers []string
		want  string
	}{
		"all is well":                          {"127.0.0.1:0", []string{peer.Addr().String()}, "ok port of gossip\nok udp of gossip\nok tcp of peer P\n"},
		"a peer is away":                       {"", []string{"127.0.0.1:1"}, "warning tcp of peer 127.0.0.1:1\n"},
		"a peer's name is unknown":             {"", []string{"none.invalid"}, "warning dns of peer none.invalid\n"},
		"what only gossip can look up is left": {"", []string{"_gossip._tcp.example.org", "exec:peers"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := checked(t, d.gossip(t.Context(), tc.bind, tc.peers))
			if diff := cmp.Diff(tc.want, short(found, peer.Addr().String(), "P")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPortThatSomebodyReceivesAt(t *testing.T) {
	taken, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f := &findings{of: "gossip"}
	datagrams(t.Context(), f, taken.LocalAddr().String())
	if got := f.list[0]; got.Verdict != Failed || !strings.Contains(got.Do, "ss -lunp") {
		t.Errorf("%+v, want that it is in use", got)
	}
}

func TestAddressesOfPeers(t *testing.T) {
	for address, want := range map[string]string{"10.1.0.1": "10.1.0.1:7946", "10.1.0.1:1": "10.1.0.1:1", "fd00::1": "[fd00::1]:7946", "[fd00::1]": "[fd00::1]:7946", "a.example.org": "a.example.org:7946", "": "", "_x": ""} {
		if got, _ := withPort(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
