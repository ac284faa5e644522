package lab

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// Another of this machine's addresses stands for one that a server in another
// network namespace would have.
func TestDoorIsAsTheServerIs(t *testing.T) {
	ctx := testContext(t)
	s := shared.Servers[2]
	address, closeDoor, err := s.Expose("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	defer closeDoor()
	if want := strings.Replace(s.Address(), "127.0.0.1", "127.0.0.2", 1); address != want {
		t.Errorf("the door is at %s, want %s", address, want)
	}
	config := shared.TLSConfig()
	config.ServerName = "localhost"
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	ask := func() error {
		ctx, cancel := context.WithTimeout(ctx, silence)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/version", nil)
		if err != nil {
			return err
		}
		return exchange(client, req, nil)
	}
	dial := func() error {
		conn, err := net.DialTimeout("tcp", address, silence)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatalf("of a running server: %v", err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := ask(); !isTimeout(err) {
		t.Errorf("of a stopped server: %v, want a timeout", err)
	}
	if _, _, err := s.Expose("127.0.0.3"); err == nil || !strings.Contains(err.Error(), "it is stopped") {
		t.Errorf("a stopped server was exposed: %v", err)
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	eventually(t, ask)
	if err := s.Blackhole(); err != nil {
		t.Fatal(err)
	}
	if err := dial(); !isTimeout(err) {
		t.Errorf("a connection to a server that is cut off: %v, want a timeout", err)
	}
	if err := s.Heal(); err != nil {
		t.Fatal(err)
	}
	eventually(t, ask)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection to a dead server: %v, want refusal", err)
	}
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, ask)
	closeDoor()
	if err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a connection to a closed door: %v, want refusal", err)
	}
}
