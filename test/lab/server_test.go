package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestServersAreOneCluster(t *testing.T) {
	ctx := testContext(t)
	const path = "/api/v1/namespaces/default/configmaps"
	if err := shared.Create(ctx, path, object{"metadata": object{"name": "one-cluster"}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range shared.Servers {
		if err := get(ctx, shared, s, path+"/one-cluster"); err != nil {
			t.Errorf("server %d: %v", s.Index, err)
		}
	}
	var version struct{ GitVersion string }
	if err := shared.Do(ctx, http.MethodGet, "/version", nil, &version); err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != KubernetesVersion {
		t.Errorf("/version says %q, want %q", version.GitVersion, KubernetesVersion)
	}
}

func TestKillResetsConnectionsAndRefusesNewOnes(t *testing.T) {
	testKill(t, shared, shared.Servers[1])
}

func testKill(t *testing.T, l *Lab, s *Server) {
	ctx := testContext(t)
	c := connect(t, l, s)
	address, pid := s.Address(), s.PID()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if s.State() != Dead || s.PID() != 0 {
		t.Errorf("after Kill: state %s, pid %d", s.State(), s.PID())
	}
	if _, err := c.receive(patience); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("open connection: %v, want its end", err)
	}
	if _, err := net.DialTimeout("tcp", address, patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("new connection: %v, want refusal", err)
	}
	if err := s.Kill(); err == nil {
		t.Error("killing a dead server succeeded")
	}
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if s.Address() != address || s.PID() == pid || s.State() != Running {
		t.Errorf("after Start: address %s (was %s), pid %d (was %d), state %s", s.Address(), address, s.PID(), pid, s.State())
	}
	if err := get(ctx, l, s, "/api/v1/nodes"); err != nil {
		t.Error(err)
	}
}

func TestRestartKeepsTheAddress(t *testing.T) {
	ctx := testContext(t)
	s := shared.Servers[2]
	address, pid := s.Address(), s.PID()
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if s.Address() != address || s.PID() == pid || s.PID() == 0 {
		t.Errorf("address %s (was %s), pid %d (was %d)", s.Address(), address, s.PID(), pid)
	}
	if err := s.Start(ctx); err == nil {
		t.Error("starting a running server succeeded")
	}
}

func TestStoppedServerIsSilentUntilCont(t *testing.T) {
	s := shared.Servers[1]
	c := connect(t, shared, s)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if s.State() != Stopped {
		t.Errorf("state %s", s.State())
	}
	c.send(t, "/version")
	c.expectSilence(t)
	// The kernel takes connections for it.
	fresh, err := net.DialTimeout("tcp", s.Address(), patience)
	if err != nil {
		t.Errorf("new connection: %v", err)
	} else {
		fresh.Close()
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	resp, err := c.receive(patience)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("after Cont: %v, %v", resp, err)
	}
	if s.State() != Running {
		t.Errorf("after Cont: state %s", s.State())
	}
}

func TestBlackholeSwallowsEverythingUntilHeal(t *testing.T) {
	testBlackhole(t, shared, shared.Servers[1], shared.Servers[0])
}

// testBlackhole uses other, a server of the same cluster, to cause an event
// while s is cut off. Other may be s where nothing else is there: then no event
// is caused.
func testBlackhole(t *testing.T, l *Lab, s, other *Server) {
	ctx := testContext(t)
	const path = "/api/v1/namespaces/default/configmaps"
	watch, idle := connect(t, l, s), connect(t, l, s)
	watch.send(t, path+"?watch=1&fieldSelector=metadata.name%3Dblackhole")
	if resp, err := watch.receive(patience); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("watch: %v, %v", resp, err)
	}
	if err := s.Blackhole(); err != nil {
		t.Fatal(err)
	}
	if s.State() != Blackholed {
		t.Errorf("state %s", s.State())
	}
	dialed := make(chan error, 1)
	go func() {
		c, err := net.DialTimeout("tcp", s.Address(), silence)
		if err == nil {
			c.Close()
		}
		dialed <- err
	}()
	if other != s {
		// The watch would get this within milliseconds.
		if err := l.Create(ctx, path, object{"metadata": object{"name": "blackhole"}}); err != nil {
			t.Fatal(err)
		}
	}
	watch.expectSilence(t)
	idle.send(t, "/version")
	idle.expectSilence(t)
	if err := <-dialed; !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
		t.Errorf("new connection: %v, want a timeout", err)
	}
	if err := s.Heal(); err != nil {
		t.Fatal(err)
	}
	if resp, err := idle.receive(patience); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("idle connection after Heal: %v, %v", resp, err)
	}
	if other != s {
		if err := watch.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := watch.reader.ReadByte(); err != nil {
			t.Errorf("watch after Heal: %v", err)
		}
	}
	if err := get(ctx, l, s, "/version"); err != nil {
		t.Errorf("new connection after Heal: %v", err)
	}
	if s.State() != Running {
		t.Errorf("after Heal: state %s", s.State())
	}
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

func TestEtcdCanBeKilledAndStopped(t *testing.T) {
	ctx := testContext(t)
	const path = "/api/v1/namespaces/default/configmaps"
	if err := shared.Create(ctx, path, object{"metadata": object{"name": "before-kill"}}); err != nil {
		t.Fatal(err)
	}
	s := shared.Servers[0]
	quick := func() error {
		ctx, cancel := context.WithTimeout(ctx, silence)
		defer cancel()
		return get(ctx, shared, s, path+"/before-kill")
	}
	shared.KillEtcd()
	if err := quick(); err == nil {
		t.Error("a read succeeded without etcd")
	}
	if err := shared.StartEtcd(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, quick)
	if err := shared.StopEtcd(); err != nil {
		t.Fatal(err)
	}
	if err := quick(); err == nil {
		t.Error("a read succeeded with etcd stopped")
	}
	if err := shared.ContEtcd(); err != nil {
		t.Fatal(err)
	}
	eventually(t, quick)
	for _, s := range shared.Servers {
		if err := s.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually tries until f succeeds.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx := testContext(t)
	for {
		err := f()
		if err == nil {
			return
		}
		if pause(ctx, pollInterval) != nil {
			t.Fatal(err)
		}
	}
}
