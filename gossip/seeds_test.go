package gossip

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func addressList(texts ...string) []netip.AddrPort {
	var all []netip.AddrPort
	for _, text := range texts {
		all = append(all, netip.MustParseAddrPort(text))
	}
	return all
}

func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSeeds(t *testing.T) {
	ip := netip.MustParseAddr
	resolver := &names{
		hosts: map[string][]netip.Addr{
			"two.example": {ip("10.0.0.1"), ip("fd00::1")}, "mapped.example": {ip("::ffff:10.0.0.9")},
		},
		srv: map[string][]*net.SRV{
			"_g._tcp.example": {{Target: "two.example.", Port: 7000}, {Target: "10.0.0.3", Port: 7001}},
			"_h._tcp.example": {{Target: "none.example.", Port: 1}, {Target: "10.0.0.3.", Port: 2}},
		},
	}
	for name, c := range map[string]struct {
		seed string
		want []netip.AddrPort
		err  string
	}{
		"an address":                       {"10.0.0.1:7000", addressList("10.0.0.1:7000"), ""},
		"an address without a port":        {"10.0.0.1", addressList("10.0.0.1:7946"), ""},
		"IPv6 without a port":              {"fd00::1", addressList("[fd00::1]:7946"), ""},
		"IPv6 in brackets without a port":  {"[fd00::1]", addressList("[fd00::1]:7946"), ""},
		"all addresses of a name":          {"two.example:7000", addressList("10.0.0.1:7000", "[fd00::1]:7000"), ""},
		"IPv4 written as IPv6":             {"mapped.example", addressList("10.0.0.9:7946"), ""},
		"a name that there is not":         {"none.example:7000", nil, "no such host"},
		"SRV records and their ports":      {"_g._tcp.example", addressList("10.0.0.1:7000", "[fd00::1]:7000", "10.0.0.3:7001"), ""},
		"SRV records of which one is dead": {"_h._tcp.example", addressList("10.0.0.3:2"), "no such host"},
		"no SRV record":                    {"_i._tcp.example", nil, "no such host"},
		"a command":                        {"exec:" + script(t, `echo 10.0.0.1:7000 two.example; echo "$1"`) + " 10.0.0.5", addressList("10.0.0.1:7000", "10.0.0.1:7946", "[fd00::1]:7946", "10.0.0.5:7946"), ""},
		"a command that prints nothing":    {"exec:" + script(t, ":"), nil, ""},
		"a command that fails":             {"exec:" + script(t, "echo no permission >&2; exit 3"), nil, "no permission"},
		"a command that there is not":      {"exec:/does/not/exist", nil, "no such file"},
		"a command that prints a command":  {"exec:" + script(t, "echo exec:/bin/true 10.0.0.1"), addressList("10.0.0.1:7946"), "output is not run"},
		"a command that prints nonsense":   {"exec:" + script(t, "echo 10.0.0.1 ??? 10.0.0.2"), addressList("10.0.0.1:7946", "10.0.0.2:7946"), `"???"`},
		"a command that prints no end":     {"exec:" + script(t, "while :; do echo 10.0.0.1 10.0.0.1 10.0.0.1 10.0.0.1 10.0.0.1 10.0.0.1; done | head -c 200000"), nil, "printed more than"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parseSeed(c.seed)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.resolve(t.Context(), resolver)
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestACommandThatHangsIsKilledWithWhatItStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fifo := filepath.Join(t.TempDir(), "started")
	s, err := parseSeed("exec:" + script(t, `echo x > "$1"; sleep 600 & wait`) + " " + fifo)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.resolve(ctx, &names{})
		done <- err
	}()
	within(t, 10*time.Second, "the command", func() bool { _, err := os.Stat(fifo); return err == nil })
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it was not killed")
	}
}

func TestAddressesNeedNoResolver(t *testing.T) {
	if got, err := lookupHost(t.Context(), refusing{}, "10.0.0.1", 5); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
