package daemon_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/kuberelay/kuberelay/auth/identify"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
	"github.com/kuberelay/kuberelay/internal/listen"
	"github.com/kuberelay/kuberelay/proxy/filter"
)

// onNetwork is an inherited socket that other machines can reach, and the
// configuration of a shared listener on it.
func onNetwork(t *testing.T, cfg *config.Configuration) listen.Inherited {
	t.Helper()
	socket, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	l := &cfg.Listeners[0]
	l.Mode, l.Filter, l.Identify, l.Address = config.Shared, filter.Config{}, []identify.Method{identify.Bearer}, "systemd:x"
	return listen.Inherited{"x": {socket}}
}

// wantNeedsTLS wants an error that names the listener once and says what it
// lacks.
func wantNeedsTLS(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "a shared listener needs tls") || strings.Count(err.Error(), "listener \"proxy\"") != 1 || strings.Contains(err.Error(), "listener proxy") {
		t.Errorf("%s: %v, want it refused: tokens would go over the network in clear text", what, err)
	}
}

// TestSharedInheritedSocketNeedsTLS refuses to start a shared listener without
// TLS on a socket that other machines can reach.
func TestSharedInheritedSocketNeedsTLS(t *testing.T) {
	t.Parallel()
	cfg := configuration(servers(t, 1))
	d, err := daemon.New(cfg, daemon.Options{Inherited: onNetwork(t, cfg)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	wantNeedsTLS(t, "start", d.Start(t.Context()))
}

// TestSharedReloadKeepsTLSOnTheNetwork refuses to take TLS away from a shared
// listener on a socket that other machines can reach.
func TestSharedReloadKeepsTLSOnTheNetwork(t *testing.T) {
	t.Parallel()
	r := &team{CA: fakeapi.NewCA(t), dir: t.TempDir(), t: t}
	cert, key := r.CA.ServerCertificate(t)
	r.file("tls.crt", string(cert))
	r.file("tls.key", string(key))
	plain := configuration(servers(t, 1))
	plain.Log = config.LogConfig{Level: "debug", Format: "json"}
	inherited := onNetwork(t, plain)
	secure := *plain
	secure.Listeners = slices.Clone(plain.Listeners)
	secure.Listeners[0].TLS = &config.ListenerTLS{CertFile: r.path("tls.crt"), KeyFile: r.path("tls.key")}
	d, err := daemon.New(&secure, daemon.Options{
		Inherited: inherited, ConfigFile: r.file("c", ""),
		Load: func() (*config.Configuration, error) { return plain, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = d.Reload(t.Context())
	wantNeedsTLS(t, "reload", err)
}
