package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestParse(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kuberelay")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{"--kuberelay", program, "--script", "--port=9000"}, io.Discard)
	if err != nil || !o.script || o.port != 9000 || o.kuberelay != program {
		t.Errorf("%+v, %v", o, err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--kuberelay", program + "-missing"}, "make build"},
		{[]string{"--kuberelay", program, "extra"}, `unexpected argument "extra"`},
		{[]string{"--no-such-flag"}, "no-such-flag"},
	} {
		if _, err := parse(c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestBusyPortIsReplaced(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := busy.Addr().String()
	got, err := freeAddress(address)
	if err != nil || got == address || !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("busy: %s, %v", got, err)
	}
	busy.Close()
	if got, err := freeAddress(address); err != nil || got != address {
		t.Errorf("free: %s, %v, want %s", got, err, address)
	}
}

func TestLoadCountsFailures(t *testing.T) {
	var served atomic.Int64
	enough := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch served.Add(1) {
		case 3:
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
		case 5:
			close(enough)
		}
	}))
	defer server.Close()
	l := startLoad(server.URL, 200)
	<-enough
	result := l.stop()
	if result.sent < 5 || len(result.failures) != 1 || !strings.Contains(result.failures[0], "503 Service Unavailable: overloaded") {
		t.Errorf("%v: %q", result, result.failures)
	}
}
