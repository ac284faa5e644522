package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// sluggish is a resolver that answers nothing until a look-up's time is over.
type sluggish struct{}

func (sluggish) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("%s: %w", host, ctx.Err())
}

func (sluggish) LookupSRV(ctx context.Context, _, _, name string) (string, []*net.SRV, error) {
	<-ctx.Done()
	return "", nil, fmt.Errorf("%s: %w", name, ctx.Err())
}

func TestASlowNameHoldsNoOtherPeerUp(t *testing.T) {
	byAddress, byCommand := start(t), start(t)
	began := time.Now()
	n := start(t, peersOf(byAddress), func(c *Config, o *Options) {
		o.Resolver = sluggish{}
		c.Peers = append(c.Peers, "slow.example.org", "_slow._tcp.example.org", "exec:"+script(t, "echo "+byCommand.Addr().String()))
	})
	within(t, seedTimeout/2, "both peers", func() bool { return n.totals().alive == 2 })
	t.Logf("joined after %v", time.Since(began))

	// Nor a peer that is lost and found.
	if err := byAddress.Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "its death", func() bool { return n.peer(byAddress.name).State == PeerFailed })
	again := start(t, named(byAddress.name), at(byAddress.Addr().String()))
	within(t, 3*time.Second, "it again", func() bool { return n.peer(again.name).State == PeerAlive })
}

func TestOneSlowTargetOfAnSRVRecordLeavesTheOthersTheirTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	records := []*net.SRV{{Target: "slow.example.org.", Port: 1}, {Target: "10.0.0.1.", Port: 2}, {Target: "10.0.0.2.", Port: 3}}
	got, err := lookupTargets(ctx, sluggish{}, records)
	if fmt.Sprint(got) != "[10.0.0.1:2 10.0.0.2:3]" || err == nil || !strings.Contains(err.Error(), "slow.example.org") {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEachPeerThatCannotBeLookedUpIsToldOnce(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	n := start(t, func(c *Config, o *Options) {
		c.Peers = []string{"one.example.org", "two.example.org", "exec:" + script(t, "echo failed in $$ >&2; exit 1") + " --token=secret"}
		o.Resolver, o.Log = &names{}, zap.New(core)
	})
	within(t, 10*time.Second, "ten rounds", func() bool { return n.metric("seed_errors_total", "") >= 30 })
	lines := logs.FilterMessageSnippet("cannot be looked up").All()
	told := map[string]bool{}
	for _, l := range lines {
		told[l.ContextMap()["peer"].(string)] = true
		if strings.Contains(fmt.Sprint(l.ContextMap()), "secret") {
			t.Errorf("the log has a command's arguments: %v", l.ContextMap())
		}
	}
	if len(lines) != 3 || len(told) != 3 {
		t.Errorf("%d lines about %d peers, want one for each of three", len(lines), len(told))
	}
}

func TestCommandsAndNamesAreNotAskedWhileNobodyIsMissing(t *testing.T) {
	peer := start(t)
	count := filepath.Join(t.TempDir(), "count")
	runs := func() int {
		raw, err := os.ReadFile(count)
		if err != nil {
			return 0
		}
		return len(raw)
	}
	n := start(t, func(c *Config, _ *Options) {
		c.Peers = []string{"exec:" + script(t, "printf x >> "+count+"; echo "+peer.Addr().String())}
	})
	within(t, 5*time.Second, "the peer", func() bool { return n.totals().alive == 1 })
	wait(t, n.profile.RejoinInterval) // A round may be under way.
	before := runs()
	wait(t, 6*n.profile.RejoinInterval)
	if more := runs() - before; more > 0 {
		t.Errorf("the command ran %d times more in six intervals, with nobody missing", more)
	}
	if err := peer.Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "it to be asked again when the peer is lost", func() bool { return runs() > before })
}

// TestASecondAddressOfAPeerIsNotJoinedForEver: it listens on every address,
// advertises one, and the configuration has another, as a name with an AAAA
// record beside the A record has, or one on the other side of a NAT.
func TestASecondAddressOfAPeerIsNotJoinedForEver(t *testing.T) {
	probe, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	port := probe.Addr().(*net.TCPAddr).AddrPort().Port()
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	everywhere := func(c *Config, _ *Options) {
		c.AdvertiseAddress, c.BindAddress = netip.AddrPortFrom(netip.MustParseAddrPort(c.BindAddress).Addr(), port).String(), fmt.Sprintf("0.0.0.0:%d", port)
	}
	peer := start(t, named("both"), everywhere)
	second := netip.AddrPortFrom(newIP(), port)
	n := start(t, func(c *Config, _ *Options) { c.Peers = []string{second.String()} })
	within(t, 3*time.Second, "the peer", func() bool { return n.totals().alive == 1 })
	if at := n.peer("both").Address; at == second.String() {
		t.Fatalf("the peer advertises %s", at)
	}
	wait(t, 4*n.profile.RejoinInterval)
	before := n.metric("joins_total", "")
	wait(t, 6*n.profile.RejoinInterval)
	if more := n.metric("joins_total", "") - before; more > 0 {
		t.Errorf("%v joins in six intervals, with everybody there", more)
	}

	// It is tried again when that peer is lost.
	if err := peer.Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "a join of the lost peer's second address", func() bool { return n.metric("joins_total", "error") > 0 })
}

func TestAMeshOfIPv6(t *testing.T) {
	first := start(t, at("[::1]:0"))
	n := start(t, at("[::1]:0"), peersOf(first), func(c *Config, _ *Options) { c.AllowedCIDRs = []string{"::1/128"} })
	within(t, 5*time.Second, "the mesh", func() bool { return n.totals().alive == 1 && first.totals().alive == 1 })
	within(t, 5*time.Second, "an answer by UDP", func() bool { return n.peer(first.name).UDP == UDPOK && first.peer(n.name).UDP == UDPOK })
	n.see(upstreamA, StateDown)
	within(t, 3*time.Second, "an observation", func() bool { return first.states(upstreamA)[n.name] == StateDown })
	if ignored := n.metric("ignored_total", "") + first.metric("ignored_total", ""); ignored != 0 {
		t.Errorf("%v messages were ignored", ignored)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "its death", func() bool { return first.peer(n.name).State == PeerFailed })
	again := start(t, named(n.name), at(n.Addr().String()))
	within(t, 5*time.Second, "it again", func() bool { return first.peer(again.name).State == PeerAlive })
}
