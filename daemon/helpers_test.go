package daemon_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kuberelay/kuberelay/admin"
	"github.com/kuberelay/kuberelay/config"
	"github.com/kuberelay/kuberelay/daemon"
	"github.com/kuberelay/kuberelay/internal/fakeapi"
)

// transportFor reaches a fake API server without kuberelay.
func transportFor(t testing.TB, s *fakeapi.Server) *http.Transport {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CAPEM) {
		t.Fatal("no certificate in the CA's PEM")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// awaitStatus waits until something holds of a daemon's status.
func awaitStatus(t testing.TB, d *daemon.Daemon, what string, holds func(admin.Status) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); !holds(d.Status()); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s; status %+v", what, d.Status())
		}
	}
}

// newDaemon builds a daemon that is stopped with the test.
func newDaemon(t testing.TB, cfg *config.Configuration) *daemon.Daemon {
	t.Helper()
	d, err := daemon.New(cfg, daemon.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return d
}

// rotatingToken is a token file.
type rotatingToken struct {
	t    testing.TB
	path string
}

func newRotatingToken(t testing.TB, first string) *rotatingToken {
	r := &rotatingToken{t: t, path: filepath.Join(t.TempDir(), "token")}
	r.set(first)
	return r
}

func (r *rotatingToken) set(token string) {
	r.t.Helper()
	next := r.path + ".next"
	if err := os.WriteFile(next, []byte(token), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, r.path); err != nil {
		r.t.Fatal(err)
	}
}

// use makes a configuration present the file's token.
func (r *rotatingToken) use(cfg *config.Configuration) {
	connection := &cfg.Clusters[0].Connection
	load := connection.Load
	connection.Load = func() (*rest.Config, error) {
		c, err := load()
		if err == nil {
			c.BearerToken, c.BearerTokenFile = "", r.path
		}
		return c, err
	}
}
