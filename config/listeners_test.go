package config

import (
	"net"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/auth/identify"
)

func sharedListener(address string, methods ...identify.Method) *Configuration {
	c := valid()
	c.Listeners[0] = Listener{Name: "team", Address: address, Cluster: "prod", Mode: Shared, Identify: methods, APIPrefix: "/"}
	return c
}

func TestSharedListenersThatAreValid(t *testing.T) {
	tls := &ListenerTLS{CertFile: "/c", KeyFile: "/k", ClientCAFile: "/ca"}
	plain := &ListenerTLS{CertFile: "/c", KeyFile: "/k"}
	for _, tc := range []struct {
		name, address string
		tls           *ListenerTLS
		methods       []identify.Method
	}{
		{"uid on loopback", "127.0.0.1:8001", nil, []identify.Method{"uid"}},
		{"uid on IPv6 loopback", "[::1]:8001", nil, []identify.Method{"uid"}},
		{"uid on a loopback address that is not 127.0.0.1", "127.9.9.9:8001", nil, []identify.Method{"uid"}},
		{"uid on a loopback address in IPv6's clothes", "[::ffff:127.0.0.1]:8001", nil, []identify.Method{"uid"}},
		{"uid on localhost", "LOCALHOST:8001", nil, []identify.Method{"uid"}},
		{"uid on a socket", "unix:///s", nil, []identify.Method{"uid"}},
		{"uid on an abstract socket", "unix:@s", nil, []identify.Method{"uid"}},
		{"uid on an inherited socket", "systemd:s", nil, []identify.Method{"uid"}},
		{"everything on loopback with TLS", "127.0.0.1:8443", tls, identify.Methods()},
		{"tokens on loopback without TLS, for curl", "127.0.0.1:8001", nil, []identify.Method{"uid", "bearer", "oidc"}},
		{"tokens for everybody", "0.0.0.0:8443", plain, []identify.Method{"bearer", "oidc"}},
		{"certificates for everybody", ":8443", tls, []identify.Method{"certificate"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := sharedListener(tc.address, tc.methods...)
			c.Listeners[0].TLS = tc.tls
			if err := c.Validate(); err != nil {
				t.Errorf("Validate() = %v, want nil", err)
			}
		})
	}
}

func TestSharedListenersThatAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name, address string
		change        func(*Listener)
		want          string
	}{
		{"every address without TLS", ":8443", nil, "listeners[0].tls: is missing"},
		{"every IPv6 address without TLS", "[::]:8443", nil, "listeners[0].tls: is missing"},
		{"a name that is not localhost", "localhost.example.org:8443", nil, "listeners[0].tls: is missing"},
		{"uid beside TLS on the network", "10.0.0.1:8443", func(l *Listener) {
			l.TLS = &ListenerTLS{CertFile: "/c", KeyFile: "/k"}
			l.Identify = []identify.Method{"bearer", "uid"}
		}, "listeners[0].identify[1]: the user of a process can be known on Unix sockets and loopback addresses only"},
		{"certificates without their authority", "127.0.0.1:1", func(l *Listener) {
			l.TLS = &ListenerTLS{CertFile: "/c", KeyFile: "/k"}
			l.Identify = []identify.Method{"certificate"}
		}, "listeners[0].identify[0]: needs tls.clientCAFile"},
		{"no method", "127.0.0.1:1", func(l *Listener) { l.Identify = nil }, "listeners[0].identify: is missing"},
		{"a host with a port", "127.0.0.1:1", func(l *Listener) { l.Hosts = []string{"a.example.org", "::1", "b:1"} }, `listeners[0].hosts[2]: "b:1"`},
		{"a wildcard", "127.0.0.1:1", func(l *Listener) { l.Hosts = []string{"*.example.org"} }, `listeners[0].hosts[0]: "*.example.org"`},
		{"an inherited socket without a name", "systemd:", nil, `listeners[0].address: "systemd:"`},
		{"a mode for a socket that is inherited", "systemd:s", func(l *Listener) { l.SocketMode = 0o600 }, "listeners[0].socketMode: is for Unix sockets"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := sharedListener(tc.address, identify.Bearer)
			if tc.change != nil {
				tc.change(&c.Listeners[0])
			}
			if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Validate() = %v, want only %q", err, tc.want)
			}
		})
	}
}

func TestOneAddressForOneListener(t *testing.T) {
	for _, tc := range []struct {
		first, second string
		same          bool
	}{
		{"127.0.0.1:8001", "127.0.0.1:8001", true},
		{"127.0.0.1:8001", "[::ffff:127.0.0.1]:8001", true},
		{"[::1]:8001", "[0:0::1]:8001", true},
		{"localhost:8001", "LocalHost:8001", true},
		{"unix:///run/s", "unix:///run//s", true},
		{"unix:@s", "unix:@s", true},
		{"systemd:s", "systemd:s", true},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"127.0.0.1:8001", "127.0.0.1:8002", false},
		{"unix:@s", "unix:///s", false},
		{"systemd:s", "systemd:t", false},
	} {
		c := valid()
		c.Listeners = []Listener{DefaultListener("a", tc.first, "prod"), DefaultListener("b", tc.second, "prod")}
		if err := c.Validate(); (err != nil) != tc.same {
			t.Errorf("listeners on %s and %s: %v, want an error: %v", tc.first, tc.second, err, tc.same)
		}
	}
}

func TestCheckBound(t *testing.T) {
	network, loopback := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	tls := &ListenerTLS{}
	for _, tc := range []struct {
		name string
		l    Listener
		addr net.Addr
		want string
	}{
		{"shared on loopback", Listener{Mode: Shared, Identify: []identify.Method{"uid"}}, loopback, ""},
		{"shared on a socket", Listener{Mode: Shared, Identify: []identify.Method{"uid"}}, &net.UnixAddr{Name: "/s"}, ""},
		{"shared on the network with TLS", Listener{Mode: Shared, TLS: tls, Identify: []identify.Method{"bearer"}}, network, ""},
		{"shared on the network without TLS", Listener{Mode: Shared, Identify: []identify.Method{"bearer"}}, network, "needs tls"},
		{"shared on every address without TLS", Listener{Mode: Shared}, &net.TCPAddr{IP: net.IPv6zero}, "needs tls"},
		{"uid on the network", Listener{Mode: Shared, TLS: tls, Identify: []identify.Method{"bearer", "uid"}}, network, "cannot identify by uid"},
		{"single on the network", Listener{Mode: Single}, network, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := text(tc.l.CheckBound(tc.addr)); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("CheckBound(%v) = %q, want %q", tc.addr, got, tc.want)
			}
		})
	}
}

func TestSocketModeText(t *testing.T) {
	for text, want := range map[string]SocketMode{"0660": 0o660, "660": 0o660, "0o660": 0, "0": 0, "0888": 0, "1777": 0, "rw": 0, "": 0} {
		var m SocketMode
		if err := m.UnmarshalText([]byte(text)); (err != nil) != (want == 0) || m != want {
			t.Errorf("%q: %v, %v, want %v", text, m, err, want)
		}
	}
	if got := SocketMode(0o60).String(); got != "0060" {
		t.Errorf("String() = %s, want 0060", got)
	}
}
